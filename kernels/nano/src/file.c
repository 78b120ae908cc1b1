#include "nano/file.h"

#include "hal/string.h"
#include "nano/errno.h"
#include "nano/heap.h"
#include "nano/syscall.h"
#include "nano/vfs.h"

/* The table; bit 0 of an entry is close-on-exec, which only fcntl() ever shows: there is no exec. */
static uintptr_t *table;
static size_t table_size;
static size_t lowest_free;

struct file *file_create(const struct file_ops *ops, unsigned flags, void *data) {
    struct file *file = kzalloc(sizeof *file);
    if (!file)
        return NULL;
    file->ops = ops;
    file->references = 1;
    file->flags = flags;
    file->data = data;
    waitq_init(&file->waitq);
    return file;
}

struct file *file_get(struct file *file) {
    file->references++;
    return file;
}

void file_put(struct file *file) {
    if (--file->references > 0)
        return;
    waitq_wake(&file->waitq, WAIT_GONE);
    if (file->ops->release)
        file->ops->release(file);
    if (file->node)
        node_put(file->node);
    kfree(file);
}

unsigned file_poll(struct file *file) {
    return file->ops->poll ? file->ops->poll(file) : POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM;
}

static bool grow(size_t wanted) {
    size_t size = table_size ? table_size : 32;
    while (size < wanted)
        size *= 2;
    uintptr_t *grown = krealloc(table, size * sizeof *table);
    if (!grown)
        return false;
    memset(grown + table_size, 0, (size - table_size) * sizeof *table);
    table = grown;
    table_size = size;
    return true;
}

int fd_install(struct file *file, int lowest, bool close_on_exec) {
    size_t fd = lowest < 0 ? 0 : (size_t)lowest;
    bool from_free = fd <= lowest_free;
    if (from_free)
        fd = lowest_free;
    while (fd < table_size && table[fd])
        fd++;
    if (fd >= FD_LIMIT)
        return -EMFILE;
    if (fd >= table_size && !grow(fd + 1))
        return -ENOMEM;
    table[fd] = (uintptr_t)file | close_on_exec;
    if (from_free)
        lowest_free = fd + 1;
    return (int)fd;
}

int64_t fd_install_new(const struct file_ops *ops, unsigned flags, void *data) {
    struct file *file = data ? file_create(ops, O_RDWR | (flags & O_NONBLOCK), data) : NULL;
    if (!file) {
        kfree(data);
        return -ENOMEM;
    }
    int fd = fd_install(file, 0, flags & O_CLOEXEC);
    if (fd < 0)
        file_put(file);
    return fd;
}

static struct file *at(uint64_t fd) {
    fd = (uint32_t)fd;
    return fd < table_size ? (struct file *)(table[fd] & ~(uintptr_t)1) : NULL;
}

struct file *fd_get(uint64_t fd) {
    struct file *file = at(fd);
    return file ? file_get(file) : NULL;
}

int fd_close(uint64_t fd) {
    struct file *file = at(fd);
    if (!file)
        return -EBADF;
    fd = (uint32_t)fd;
    table[fd] = 0;
    if (fd < lowest_free)
        lowest_free = fd;
    file_put(file);
    return 0;
}

int fd_replace(uint64_t fd, struct file *file, bool close_on_exec) {
    if (fd >= FD_LIMIT)
        return -EBADF;
    if (fd >= table_size && !grow(fd + 1))
        return -ENOMEM;
    struct file *old = at(fd);
    table[fd] = (uintptr_t)file | close_on_exec;
    if (old)
        file_put(old);
    return (int)fd;
}

bool fd_close_on_exec(uint64_t fd) {
    return at(fd) && table[(uint32_t)fd] & 1;
}

void fd_set_close_on_exec(uint64_t fd, bool on) {
    if (at(fd))
        table[(uint32_t)fd] = (table[(uint32_t)fd] & ~(uintptr_t)1) | on;
}

void fd_close_all(void) {
    for (size_t fd = 0; fd < table_size; fd++)
        if (table[fd])
            fd_close(fd);
}

size_t fd_next(size_t fd) {
    while (fd < table_size && !table[fd])
        fd++;
    return fd < table_size ? fd : SIZE_MAX;
}

int64_t file_read_at(struct file *file, struct iter *to, uint64_t offset) {
    if ((file->flags & O_ACCMODE) == O_WRONLY || file->flags & O_PATH)
        return -EBADF;
    return file->ops->read ? file->ops->read(file, to, offset) : -EINVAL;
}

int64_t file_write_at(struct file *file, struct iter *from, uint64_t offset) {
    if ((file->flags & O_ACCMODE) == O_RDONLY || file->flags & O_PATH)
        return -EBADF;
    return file->ops->write ? file->ops->write(file, from, offset) : -EINVAL;
}

int64_t file_read(struct file *file, struct iter *to) {
    int64_t done = file_read_at(file, to, file->offset);
    if (done > 0 && file->ops->seekable)
        file->offset += (uint64_t)done;
    return done;
}

int64_t file_write(struct file *file, struct iter *from) {
    if (file->flags & O_APPEND && file->node)
        file->offset = file->node->size;
    int64_t done = file_write_at(file, from, file->offset);
    if (done > 0 && file->ops->seekable)
        file->offset += (uint64_t)done;
    return done;
}

/* What open gives for a regular file. */
static int64_t node_file_read(struct file *file, struct iter *to, uint64_t offset) {
    return file->node->ops->read ? file->node->ops->read(file->node, to, offset) : -EINVAL;
}

static int64_t node_file_write(struct file *file, struct iter *from, uint64_t offset) {
    struct node *node = file->node;
    if (!node->ops->write)
        return -EBADF;
    int64_t done = node->ops->write(node, from, offset);
    if (done > 0)
        node->modified = node->changed = vfs_now();
    if (done > 0 && file->flags & O_DSYNC && node->ops->sync) {
        int status = node->ops->sync(node, true);
        if (status != 0)
            return status;
    }
    return done;
}

const struct file_ops node_file_ops = {.read = node_file_read, .write = node_file_write, .seekable = true};

static int64_t directory_read(struct file *file, struct iter *to, uint64_t offset) {
    (void)file;
    (void)to;
    (void)offset;
    return -EISDIR;
}

const struct file_ops directory_file_ops = {.read = directory_read, .seekable = true};
