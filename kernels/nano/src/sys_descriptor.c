/*
 * System calls on open files and on what a path's node says of itself: group `file`.
 */
#include "hal/string.h"
#include "nano/errno.h"
#include "nano/file.h"
#include "nano/heap.h"
#include "nano/page.h"
#include "nano/place.h"
#include "nano/process.h"
#include "nano/signal.h"
#include "nano/syscall.h"

#define FIONREAD 0x541b
#define FIONBIO 0x5421
#define FIOCLEX 0x5451
#define FIONCLEX 0x5450
#define SETTABLE (O_APPEND | O_NONBLOCK | O_DIRECT | 020000u | 01000000u)

static int64_t sys_dup(const uint64_t *a) {
    struct file *file = fd_get(a[0]);
    if (!file)
        return -EBADF;
    int fd = fd_install(file, 0, false);
    if (fd < 0)
        file_put(file);
    return fd;
}
SYSCALL(32, dup, sys_dup, file);

static int64_t replace(uint64_t old, uint64_t new, bool close_on_exec) {
    struct file *file = fd_get(old);
    if (!file)
        return -EBADF;
    int status = fd_replace((uint32_t)new, file, close_on_exec);
    if (status < 0)
        file_put(file);
    return status;
}
static int64_t sys_dup2(const uint64_t *a) {
    if ((uint32_t)a[0] == (uint32_t)a[1]) {
        struct file *file = fd_get(a[0]);
        if (!file)
            return -EBADF;
        file_put(file);
        return (int64_t)(uint32_t)a[0];
    }
    return replace(a[0], a[1], false);
}
SYSCALL(33, dup2, sys_dup2, file);
static int64_t sys_dup3(const uint64_t *a) {
    return a[2] & ~(uint64_t)O_CLOEXEC || (uint32_t)a[0] == (uint32_t)a[1] ? -EINVAL : replace(a[0], a[1], a[2] & O_CLOEXEC);
}
SYSCALL(292, dup3, sys_dup3, file);

/* struct flock of x86-64. */
struct flock {
    int16_t type, whence;
    int64_t start, length;
    int32_t pid;
};

static int64_t fcntl_file(struct file *file, uint64_t fd, unsigned command, uint64_t argument) {
    struct flock lock;
    switch (command) {
    case 0: /* F_DUPFD */
    case 1030: { /* F_DUPFD_CLOEXEC */
        if (argument >= FD_LIMIT)
            return -EINVAL;
        int copy = fd_install(file_get(file), (int)argument, command == 1030);
        if (copy < 0)
            file_put(file);
        return copy;
    }
    case 1: /* F_GETFD */
        return fd_close_on_exec(fd);
    case 2: /* F_SETFD */
        fd_set_close_on_exec(fd, argument & 1);
        return 0;
    case 3: /* F_GETFL */
        return (int64_t)(file->flags | (file->node ? O_LARGEFILE : 0));
    case 4: /* F_SETFL */
        file->flags = (file->flags & ~SETTABLE) | ((unsigned)argument & SETTABLE);
        return 0;
    case 5: /* F_GETLK: one process, which never meets its own locks */
    case 36:
        if (copy_from_user(&lock, argument, sizeof lock) != 0)
            return -EFAULT;
        lock.type = 2;
        return copy_to_user(argument, &lock, sizeof lock);
    case 6: /* F_SETLK, F_SETLKW and their open file description twins */
    case 7:
    case 37:
    case 38:
        if (copy_from_user(&lock, argument, sizeof lock) != 0)
            return -EFAULT;
        return lock.type < 0 || lock.type > 2 || lock.whence < 0 || lock.whence > 2 ? -EINVAL : 0;
    case 1031: /* F_SETPIPE_SZ, F_GETPIPE_SZ */
    case 1032:
        return file->ops->ioctl ? file->ops->ioctl(file, command, argument) : -EBADF;
    default:
        return -EINVAL;
    }
}

static int64_t sys_fcntl(const uint64_t *a) {
    struct file *file = fd_get(a[0]);
    if (!file)
        return -EBADF;
    int64_t result = fcntl_file(file, a[0], (unsigned)a[1], a[2]);
    file_put(file);
    return result;
}
SYSCALL(72, fcntl, sys_fcntl, file);

static int64_t ioctl_file(struct file *file, uint64_t fd, unsigned request, uintptr_t argument) {
    int value;
    switch (request) {
    case FIOCLEX:
    case FIONCLEX:
        fd_set_close_on_exec(fd, request == FIOCLEX);
        return 0;
    case FIONBIO:
        if (copy_from_user(&value, argument, sizeof value) != 0)
            return -EFAULT;
        file->flags = value ? file->flags | O_NONBLOCK : file->flags & ~O_NONBLOCK;
        return 0;
    case FIONREAD:
        if (file->ops == &node_file_ops) {
            int64_t left = (int64_t)file->node->size - (int64_t)file->offset;
            value = (int)left;
            return copy_to_user(argument, &value, sizeof value);
        }
        break;
    default:
        break;
    }
    return file->ops->ioctl ? file->ops->ioctl(file, request, argument) : -ENOTTY;
}

static int64_t sys_ioctl(const uint64_t *a) {
    struct file *file = fd_get(a[0]);
    if (!file)
        return -EBADF;
    int64_t result = file->flags & O_PATH ? -EBADF : ioctl_file(file, a[0], (unsigned)a[1], a[2]);
    file_put(file);
    return result;
}
SYSCALL(16, ioctl, sys_ioctl, file);

static int64_t sys_flock(const uint64_t *a) {
    struct file *file = fd_get(a[0]);
    if (!file)
        return -EBADF;
    file_put(file);
    unsigned operation = (unsigned)a[1] & ~4u;
    return operation == 1 || operation == 2 || operation == 8 ? 0 : -EINVAL;
}
SYSCALL(73, flock, sys_flock, file);

static int64_t sync_file(uint64_t fd, bool data_only) {
    struct file *file = fd_get(fd);
    if (!file)
        return -EBADF;
    int status = !file->node || file->node->ops->file_ops ? -EINVAL : file->node->ops->sync ? file->node->ops->sync(file->node, data_only) : 0;
    file_put(file);
    return status;
}
static int64_t sys_fsync(const uint64_t *a) {
    return sync_file(a[0], false);
}
SYSCALL(74, fsync, sys_fsync, file);
static int64_t sys_fdatasync(const uint64_t *a) {
    return sync_file(a[0], true);
}
SYSCALL(75, fdatasync, sys_fdatasync, file);

static int64_t sys_umask(const uint64_t *a) {
    uint32_t old = process.umask;
    process.umask = (uint32_t)a[0] & 0777;
    return old;
}
SYSCALL(95, umask, sys_umask, file);

/* struct linux_dirent64: its fixed part is 19 bytes, then the name. */
static int64_t put_entry(uintptr_t to, size_t room, uint64_t inode, int64_t next, uint32_t mode, const char *name) {
    size_t length = strlen(name), size = (19 + length + 1 + 7) & ~(size_t)7;
    if (size > room)
        return 0;
    uint8_t buffer[19 + NAME_MAX + 1 + 8] = {0};
    uint16_t short_size = (uint16_t)size;
    memcpy(buffer, &inode, 8);
    memcpy(buffer + 8, &next, 8);
    memcpy(buffer + 16, &short_size, 2);
    buffer[18] = (uint8_t)(mode >> 12 & 15);
    memcpy(buffer + 19, name, length + 1);
    return copy_to_user(to, buffer, size) ? -EFAULT : (int64_t)size;
}

static int64_t read_directory(struct file *file, uintptr_t to, size_t room) {
    struct node *directory = file->node;
    if (!directory || (directory->mode & S_IFMT) != S_IFDIR)
        return -ENOTDIR;
    vfs_late();
    if (directory->ops->fill && !directory->complete) {
        int status = directory->ops->fill(directory);
        if (status != 0)
            return status;
    }
    if (directory->removed)
        return -ENOENT;
    /* Children stand newest first; positions count from the oldest, so that names added meanwhile come last. */
    int64_t total = 0;
    for (uint64_t at = file->offset;; at++) {
        /* Counted each time: the copy of the entry before may have blocked. */
        uint64_t count = 0;
        for (struct node *child = directory->children; child; child = child->next)
            count++;
        if (at >= count + 2)
            break;
        struct node *child = at == 0 ? directory : at == 1 ? (directory->parent ? directory->parent : directory) : directory->children;
        for (uint64_t skip = at >= 2 ? count - 1 - (at - 2) : 0; skip > 0; skip--)
            child = child->next;
        if (child->mounted)
            child = child->mounted;
        int64_t size = put_entry(to + (uint64_t)total, room - (size_t)total, child->inode, (int64_t)at + 1, child->mode,
                                 at == 0 ? "." : at == 1 ? ".." : child->name);
        if (size < 0)
            return total ? total : size;
        if (size == 0)
            return total ? total : -EINVAL;
        total += size;
        file->offset = at + 1;
    }
    return total;
}

static int64_t sys_getdents64(const uint64_t *a) {
    struct file *file = fd_get(a[0]);
    if (!file)
        return -EBADF;
    int64_t result = read_directory(file, a[1], (uint32_t)a[2]);
    file_put(file);
    return result;
}
SYSCALL(217, getdents64, sys_getdents64, file);

struct statfs {
    int64_t type, block_size;
    uint64_t blocks, free, available, files, files_free;
    int32_t id[2];
    int64_t name_length, fragment_size, flags, spare[4];
};

static int64_t put_statfs(const struct node *node, uintptr_t to) {
    bool memory = !node->filesystem->read_only;
    struct statfs s = {.type = node->filesystem->magic, .block_size = 4096, .name_length = NAME_MAX, .fragment_size = 4096,
                       .flags = 0x20 | node->filesystem->read_only, .blocks = memory ? page_total() : 0, .free = memory ? page_available() : 0,
                       .available = memory ? page_available() : 0};
    return copy_to_user(to, &s, sizeof s);
}

static int64_t sys_statfs(const uint64_t *a) {
    struct node *node;
    int64_t status = place_lookup(AT_FDCWD, a[0], 0, &node);
    if (status != 0)
        return status;
    status = put_statfs(node, a[1]);
    node_put(node);
    return status;
}
SYSCALL(137, statfs, sys_statfs, file);

static int64_t sys_fstatfs(const uint64_t *a) {
    struct file *file = fd_get(a[0]);
    if (!file)
        return -EBADF;
    int64_t status = file->node ? put_statfs(file->node, a[1]) : -ENOSYS;
    file_put(file);
    return status;
}
SYSCALL(138, fstatfs, sys_fstatfs, file);

static int64_t sys_fadvise64(const uint64_t *a) {
    struct file *file = fd_get(a[0]);
    if (!file)
        return -EBADF;
    bool stream = !file->node;
    file_put(file);
    return stream ? -ESPIPE : a[3] > 5 ? -EINVAL : 0;
}
SYSCALL(221, fadvise64, sys_fadvise64, file);

static int64_t sys_sync(const uint64_t *a) {
    (void)a;
    return 0;
}
SYSCALL(162, sync, sys_sync, file);

/*
 * sendfile: the source's bytes go by the kernel's own memory to the target's `write`. A page of the initrd is written
 * from where it lies.
 */
static int64_t copy_file(struct file *to, struct file *from, uint64_t *offset, size_t count) {
    int64_t total = 0, status = 0;
    void *buffer = NULL;
    while (count > 0) {
        struct iter iter;
        struct segment segment;
        size_t now = count < 4 * PAGE_SIZE ? count : 4 * PAGE_SIZE;
        const struct node *node = from->node;
        if (node && node->filesystem->read_only && node->data && from->ops == &node_file_ops) {
            if (*offset >= node->size)
                break;
            now = count < node->size - *offset ? count : node->size - *offset;
            iter_init_kernel(&iter, &segment, (char *)node->data + *offset, now);
        } else {
            if (!buffer)
                buffer = page_alloc(2);
            if (!buffer)
                return total ? total : -ENOMEM;
            iter_init_kernel(&iter, &segment, buffer, now);
            status = file_read_at(from, &iter, *offset);
            if (status <= 0)
                break;
            now = (size_t)status;
            iter_init_kernel(&iter, &segment, buffer, now);
        }
        status = file_write(to, &iter);
        if (status <= 0)
            break;
        total += status;
        *offset += (uint64_t)status;
        count -= (size_t)status;
        if ((size_t)status < now)
            break;
    }
    if (buffer)
        page_free(buffer, 2);
    return total ? total : status;
}

static int64_t sys_sendfile(const uint64_t *a) {
    struct file *to = fd_get(a[0]), *from = fd_get(a[1]);
    int64_t result = -EBADF, offset;
    if (!to || !from)
        goto out;
    if ((int64_t)a[3] < 0 || !from->ops->seekable) {
        result = -EINVAL;
        goto out;
    }
    size_t count = a[3] < TRANSFER_MAX ? a[3] : TRANSFER_MAX;
    if (a[2]) {
        result = copy_from_user(&offset, a[2], sizeof offset);
        if (result == 0 && offset < 0)
            result = -EINVAL;
        if (result != 0)
            goto out;
        uint64_t at = (uint64_t)offset;
        result = copy_file(to, from, &at, count);
        if (result > 0 && copy_to_user(a[2], &at, sizeof at) != 0)
            result = -EFAULT;
    } else {
        result = copy_file(to, from, &from->offset, count);
    }
out:
    if (to)
        file_put(to);
    if (from)
        file_put(from);
    if (result == -EPIPE)
        signal_raise(SIGPIPE);
    return result;
}
SYSCALL(40, sendfile, sys_sendfile, file);
