/*
 * Pipes: group `pipes`. 64 KiB, as Linux's; writes of at most PIPE_BUF bytes are whole.
 */
#include "hal/string.h"
#include "nano/errno.h"
#include "nano/file.h"
#include "nano/heap.h"
#include "nano/page.h"
#include "nano/syscall.h"

#define PIPE_ORDER 4
#define PIPE_SIZE (PAGE_SIZE << PIPE_ORDER)
#define PIPE_BUF 4096
#define FIONREAD 0x541b
#define F_SETPIPE_SZ 1031
#define F_GETPIPE_SZ 1032

/*
 * Freed with the second end. The buffer comes with the first byte written. A copy may block: one thread at a time takes
 * bytes out, and one puts bytes in.
 */
struct pipe {
    char *buffer;
    size_t start, length;
    bool reading, writing;
    struct file *reader, *writer; /* NULL: closed */
};

static bool readable(void *context) {
    const struct pipe *pipe = context;
    return pipe->length > 0 || !pipe->writer;
}

static bool may_read(void *context) {
    return readable(context) && !((const struct pipe *)context)->reading;
}

static bool nobody_reads(void *context) {
    return !((const struct pipe *)context)->reading;
}

static int64_t pipe_read(struct file *file, struct iter *to, uint64_t offset) {
    (void)offset;
    struct pipe *pipe = file->data;
    if (!to->left)
        return 0;
    int status = wait_until(&file->waitq, file->flags & O_NONBLOCK ? nobody_reads : may_read, pipe, HAL_FOREVER);
    if (status != 0)
        return status;
    if (!readable(pipe))
        return -EAGAIN;
    int64_t total = 0;
    pipe->reading = true;
    while (to->left && pipe->length) {
        size_t now = PIPE_SIZE - pipe->start;
        now = now < pipe->length ? now : pipe->length;
        now = now < to->left ? now : to->left;
        size_t done = iter_put(to, pipe->buffer + pipe->start, now);
        pipe->start = (pipe->start + done) % PIPE_SIZE;
        pipe->length -= done;
        total += (int64_t)done;
        if (done < now) {
            total = total ? total : -EFAULT;
            break;
        }
    }
    pipe->reading = false;
    waitq_wake(&file->waitq, 0);
    if (total > 0 && pipe->writer)
        waitq_wake(&pipe->writer->waitq, POLLOUT | POLLWRNORM);
    return total;
}

static bool whole_room(void *context) {
    const struct pipe *pipe = context;
    return !pipe->reader || PIPE_SIZE - pipe->length >= PIPE_BUF;
}

static bool any_room(void *context) {
    const struct pipe *pipe = context;
    return !pipe->reader || pipe->length < PIPE_SIZE;
}

static bool may_write_whole(void *context) {
    return whole_room(context) && !((const struct pipe *)context)->writing;
}

static bool may_write(void *context) {
    return any_room(context) && !((const struct pipe *)context)->writing;
}

static bool nobody_writes(void *context) {
    return !((const struct pipe *)context)->writing;
}

static int64_t pipe_write(struct file *file, struct iter *from, uint64_t offset) {
    (void)offset;
    struct pipe *pipe = file->data;
    int64_t total = 0;
    if (!pipe->buffer) {
        pipe->buffer = page_alloc(PIPE_ORDER);
        if (!pipe->buffer)
            return -ENOMEM;
    }
    bool whole = from->left <= PIPE_BUF;
    while (from->left) {
        if (!pipe->reader)
            return total ? total : -EPIPE;
        bool full = whole ? PIPE_SIZE - pipe->length < from->left : pipe->length == PIPE_SIZE;
        if (full || pipe->writing) {
            bool waits = !(file->flags & O_NONBLOCK);
            if (!waits && !pipe->writing)
                return total ? total : -EAGAIN;
            int status = wait_until(&file->waitq, !waits ? nobody_writes : whole ? may_write_whole : may_write, pipe, HAL_FOREVER);
            if (status != 0)
                return total ? total : status;
            continue;
        }
        size_t end = (pipe->start + pipe->length) % PIPE_SIZE, now = PIPE_SIZE - pipe->length;
        now = now < PIPE_SIZE - end ? now : PIPE_SIZE - end;
        now = now < from->left ? now : from->left;
        pipe->writing = true;
        size_t done = iter_get(from, pipe->buffer + end, now);
        pipe->writing = false;
        waitq_wake(&file->waitq, 0);
        pipe->length += done;
        total += (int64_t)done;
        if (done && pipe->reader)
            waitq_wake(&pipe->reader->waitq, POLLIN | POLLRDNORM);
        if (done < now)
            return total ? total : -EFAULT;
    }
    return total;
}

static unsigned pipe_poll(struct file *file) {
    const struct pipe *pipe = file->data;
    if (file == pipe->reader)
        return (pipe->length ? POLLIN | POLLRDNORM : 0) | (pipe->writer ? 0 : POLLHUP);
    return (whole_room((void *)pipe) ? POLLOUT | POLLWRNORM : 0) | (pipe->reader ? 0 : POLLERR);
}

static int64_t pipe_ioctl(struct file *file, unsigned request, uintptr_t argument) {
    const struct pipe *pipe = file->data;
    int length = (int)pipe->length;
    switch (request) {
    case FIONREAD:
        return copy_to_user(argument, &length, sizeof length);
    case F_SETPIPE_SZ:
        return argument > PIPE_SIZE ? -EPERM : (int64_t)PIPE_SIZE;
    case F_GETPIPE_SZ:
        return PIPE_SIZE;
    default:
        return -ENOTTY;
    }
}

static int pipe_stat(struct file *file, struct stat64 *stat) {
    (void)file;
    stat->mode = S_IFIFO | 0600;
    return 0;
}

static void pipe_release(struct file *file) {
    struct pipe *pipe = file->data;
    if (file == pipe->reader)
        pipe->reader = NULL;
    else
        pipe->writer = NULL;
    struct file *other = pipe->reader ? pipe->reader : pipe->writer;
    if (other) {
        waitq_wake(&other->waitq, POLLHUP | POLLERR | POLLIN | POLLOUT);
        return;
    }
    if (pipe->buffer)
        page_free(pipe->buffer, PIPE_ORDER);
    kfree(pipe);
}

static const struct file_ops reader_ops = {.read = pipe_read, .poll = pipe_poll, .ioctl = pipe_ioctl, .stat = pipe_stat, .release = pipe_release};
static const struct file_ops writer_ops = {.write = pipe_write, .poll = pipe_poll, .ioctl = pipe_ioctl, .stat = pipe_stat, .release = pipe_release};

static int64_t make_pipe(uintptr_t to, unsigned flags) {
    if (flags & ~(O_NONBLOCK | O_CLOEXEC | O_DIRECT))
        return -EINVAL;
    struct pipe *pipe = kzalloc(sizeof *pipe);
    struct file *reader = pipe ? file_create(&reader_ops, O_RDONLY | (flags & O_NONBLOCK), pipe) : NULL;
    struct file *writer = reader ? file_create(&writer_ops, O_WRONLY | (flags & O_NONBLOCK), pipe) : NULL;
    if (!writer) {
        kfree(reader);
        kfree(pipe);
        return -ENOMEM;
    }
    pipe->reader = reader;
    pipe->writer = writer;
    int fds[2] = {fd_install(reader, 0, flags & O_CLOEXEC), -1};
    if (fds[0] < 0) {
        file_put(reader);
        file_put(writer);
        return fds[0];
    }
    fds[1] = fd_install(writer, 0, flags & O_CLOEXEC);
    int64_t status = fds[1] < 0 ? fds[1] : copy_to_user(to, fds, sizeof fds);
    if (status < 0) {
        fd_close((uint64_t)fds[0]);
        if (fds[1] < 0)
            file_put(writer);
        else
            fd_close((uint64_t)fds[1]);
    }
    return status;
}

static int64_t sys_pipe(const uint64_t *a) {
    return make_pipe(a[0], 0);
}
SYSCALL(22, pipe, sys_pipe, pipes);
static int64_t sys_pipe2(const uint64_t *a) {
    return make_pipe(a[0], (unsigned)a[1]);
}
SYSCALL(293, pipe2, sys_pipe2, pipes);
