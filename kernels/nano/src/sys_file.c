/*
 * System calls that open, close, read, write and seek: group `file`.
 */
#include "nano/errno.h"
#include "nano/file.h"
#include "nano/heap.h"
#include "nano/place.h"
#include "nano/signal.h"
#include "nano/syscall.h"

#define FAST_SEGMENTS 8
#define RWF_SUPPORTED 0x7u

static int64_t open_at(int64_t directory, uintptr_t address, unsigned flags, uint32_t mode) {
    struct place place;
    struct file *file;
    int status = place_get(&place, directory, address);
    if (status != 0)
        return status;
    if (flags & O_PATH)
        flags &= O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    status = vfs_open(place.base, place.path, flags, mode, &file);
    place_put(&place);
    if (status != 0)
        return status;
    int fd = fd_install(file, 0, flags & O_CLOEXEC);
    if (fd < 0)
        file_put(file);
    return fd;
}

static int64_t sys_open(const uint64_t *a) {
    return open_at(AT_FDCWD, a[0], (unsigned)a[1], (uint32_t)a[2]);
}
SYSCALL(2, open, sys_open, file);

static int64_t sys_creat(const uint64_t *a) {
    return open_at(AT_FDCWD, a[0], O_CREAT | O_WRONLY | O_TRUNC, (uint32_t)a[1]);
}
SYSCALL(85, creat, sys_creat, file);

static int64_t sys_openat(const uint64_t *a) {
    return open_at((int64_t)a[0], a[1], (unsigned)a[2], (uint32_t)a[3]);
}
SYSCALL(257, openat, sys_openat, file);

static int64_t sys_close(const uint64_t *a) {
    return fd_close(a[0]);
}
SYSCALL(3, close, sys_close, file);

static int64_t sys_close_range(const uint64_t *a) {
    uint64_t first = (uint32_t)a[0], last = (uint32_t)a[1];
    if (first > last || a[2] & ~4ull)
        return -EINVAL;
    for (size_t fd = fd_next(first); fd != SIZE_MAX && fd <= last; fd = fd_next(fd + 1)) {
        if (a[2] & 4)
            fd_set_close_on_exec(fd, true);
        else
            fd_close(fd);
    }
    return 0;
}
SYSCALL(436, close_range, sys_close_range, file);

enum place_of_transfer { AT_POSITION, AT_OFFSET };

/* Every read and write. `offset` counts only with AT_OFFSET. */
static int64_t transfer(uint64_t fd, struct iter *iter, bool writing, enum place_of_transfer place, int64_t offset) {
    struct file *file = fd_get(fd);
    if (!file)
        return -EBADF;
    int64_t result;
    if (place == AT_OFFSET && !file->ops->seekable)
        result = -ESPIPE;
    else if (place == AT_OFFSET && offset < 0)
        result = -EINVAL;
    else if (place == AT_OFFSET)
        result = writing ? file_write_at(file, iter, (uint64_t)offset) : file_read_at(file, iter, (uint64_t)offset);
    else
        result = writing ? file_write(file, iter) : file_read(file, iter);
    file_put(file);
    if (result == -EPIPE && writing)
        signal_raise(SIGPIPE);
    return result;
}

static int64_t transfer_buffer(const uint64_t *a, bool writing, enum place_of_transfer place) {
    struct iter iter;
    struct segment segment;
    if ((int64_t)a[2] < 0)
        return -EINVAL;
    iter_init_user(&iter, &segment, a[1], a[2]);
    return transfer(a[0], &iter, writing, place, (int64_t)a[3]);
}

static int64_t transfer_vector(const uint64_t *a, bool writing, enum place_of_transfer place) {
    struct iter iter;
    struct segment segments[FAST_SEGMENTS];
    void *allocated;
    int64_t result = iter_init_iovec(&iter, segments, FAST_SEGMENTS, a[1], a[2], &allocated);
    if (result == 0)
        result = transfer(a[0], &iter, writing, place, (int64_t)a[3]);
    kfree(allocated);
    return result;
}

static int64_t sys_read(const uint64_t *a) {
    return transfer_buffer(a, false, AT_POSITION);
}
SYSCALL(0, read, sys_read, file);
static int64_t sys_write(const uint64_t *a) {
    return transfer_buffer(a, true, AT_POSITION);
}
SYSCALL(1, write, sys_write, file);
static int64_t sys_pread64(const uint64_t *a) {
    return transfer_buffer(a, false, AT_OFFSET);
}
SYSCALL(17, pread64, sys_pread64, file);
static int64_t sys_pwrite64(const uint64_t *a) {
    return transfer_buffer(a, true, AT_OFFSET);
}
SYSCALL(18, pwrite64, sys_pwrite64, file);
static int64_t sys_readv(const uint64_t *a) {
    return transfer_vector(a, false, AT_POSITION);
}
SYSCALL(19, readv, sys_readv, file);
static int64_t sys_writev(const uint64_t *a) {
    return transfer_vector(a, true, AT_POSITION);
}
SYSCALL(20, writev, sys_writev, file);
static int64_t sys_preadv(const uint64_t *a) {
    return transfer_vector(a, false, AT_OFFSET);
}
SYSCALL(295, preadv, sys_preadv, file);
static int64_t sys_pwritev(const uint64_t *a) {
    return transfer_vector(a, true, AT_OFFSET);
}
SYSCALL(296, pwritev, sys_pwritev, file);
static int64_t sys_preadv2(const uint64_t *a) {
    return a[5] & ~(uint64_t)RWF_SUPPORTED ? -EOPNOTSUPP : transfer_vector(a, false, a[3] == UINT64_MAX ? AT_POSITION : AT_OFFSET);
}
SYSCALL(327, preadv2, sys_preadv2, file);
static int64_t sys_pwritev2(const uint64_t *a) {
    return a[5] & ~(uint64_t)RWF_SUPPORTED ? -EOPNOTSUPP : transfer_vector(a, true, a[3] == UINT64_MAX ? AT_POSITION : AT_OFFSET);
}
SYSCALL(328, pwritev2, sys_pwritev2, file);

static int64_t sys_lseek(const uint64_t *a) {
    struct file *file = fd_get(a[0]);
    if (!file)
        return -EBADF;
    int64_t offset = (int64_t)a[1], base = 0, result;
    uint64_t size = file->node ? file->node->size : 0;
    bool seekable = file->ops->seekable && !(file->flags & O_PATH);
    unsigned whence = (unsigned)a[2];
    if (whence == 1)
        base = (int64_t)file->offset;
    else if (whence == 2)
        base = (int64_t)size;
    if (file->flags & O_PATH)
        result = -EBADF;
    else if (!seekable && file->ops->seek_does_nothing)
        result = 0;
    else if (!seekable)
        result = -ESPIPE;
    else if (whence > 4)
        result = -EINVAL;
    else if (whence >= 3) /* SEEK_DATA, SEEK_HOLE: everything is data */
        result = offset < 0 || (uint64_t)offset >= size ? -ENXIO : whence == 3 ? offset : (int64_t)size;
    else if (__builtin_add_overflow(base, offset, &result))
        result = -EOVERFLOW;
    else if (result < 0)
        result = -EINVAL;
    if (result >= 0)
        file->offset = (uint64_t)result;
    file_put(file);
    return result;
}
SYSCALL(8, lseek, sys_lseek, file);
