/*
 * System calls on paths: group `file`.
 */
#include "hal/string.h"
#include "nano/errno.h"
#include "nano/heap.h"
#include "nano/place.h"
#include "nano/process.h"
#include "nano/syscall.h"
#include "nano/user.h"

#define AT_REMOVEDIR 0x200u
#define AT_EMPTY_PATH 0x1000u

static int stat_file(struct file *file, struct stat64 *stat) {
    *stat = (struct stat64){.dev = 13, .ino = (uintptr_t)file >> 4 & 0xffffff, .nlink = 1, .mode = 0600, .blksize = 4096};
    if (file->ops->stat)
        return file->ops->stat(file, stat);
    if (file->node)
        node_stat(file->node, stat);
    return 0;
}

static int stat_path(int64_t directory, uintptr_t address, unsigned flags, struct stat64 *stat) {
    struct node *node;
    if (flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH | 0x800u | 0x6000u))
        return -EINVAL;
    if (flags & AT_EMPTY_PATH) {
        char first = 0;
        if (copy_from_user(&first, address, 1) != 0)
            return -EFAULT;
        if (!first) {
            struct file *file = (int)directory == AT_FDCWD ? NULL : fd_get((uint64_t)directory);
            if (!file && (int)directory != AT_FDCWD)
                return -EBADF;
            int status = 0;
            if (file) {
                status = stat_file(file, stat);
                file_put(file);
            } else {
                node_stat(process.directory, stat);
            }
            return status;
        }
    }
    int status = place_lookup(directory, address, flags & AT_SYMLINK_NOFOLLOW ? LOOKUP_NOFOLLOW : 0, &node);
    if (status != 0)
        return status;
    node_stat(node, stat);
    node_put(node);
    return 0;
}

static int64_t put_stat(int status, uintptr_t to, const struct stat64 *stat) {
    return status != 0 ? status : copy_to_user(to, stat, sizeof *stat);
}

static int64_t sys_stat(const uint64_t *a) {
    struct stat64 stat;
    return put_stat(stat_path(AT_FDCWD, a[0], 0, &stat), a[1], &stat);
}
SYSCALL(4, stat, sys_stat, file);
static int64_t sys_lstat(const uint64_t *a) {
    struct stat64 stat;
    return put_stat(stat_path(AT_FDCWD, a[0], AT_SYMLINK_NOFOLLOW, &stat), a[1], &stat);
}
SYSCALL(6, lstat, sys_lstat, file);
static int64_t sys_newfstatat(const uint64_t *a) {
    struct stat64 stat;
    return put_stat(stat_path((int64_t)a[0], a[1], (unsigned)a[3], &stat), a[2], &stat);
}
SYSCALL(262, newfstatat, sys_newfstatat, file);
static int64_t sys_fstat(const uint64_t *a) {
    struct stat64 stat;
    struct file *file = fd_get(a[0]);
    if (!file)
        return -EBADF;
    int status = stat_file(file, &stat);
    file_put(file);
    return put_stat(status, a[1], &stat);
}
SYSCALL(5, fstat, sys_fstat, file);

struct statx_time {
    int64_t seconds;
    uint32_t nanoseconds;
    int32_t pad;
};
struct statx {
    uint32_t mask, blksize;
    uint64_t attributes;
    uint32_t nlink, uid, gid;
    uint16_t mode, pad;
    uint64_t ino, size, blocks, attributes_mask;
    struct statx_time atime, btime, ctime, mtime;
    uint32_t rdev_major, rdev_minor, dev_major, dev_minor;
    uint64_t rest[14];
};

static int64_t sys_statx(const uint64_t *a) {
    struct stat64 stat;
    if (a[3] & 0x80000000u)
        return -EINVAL;
    int status = stat_path((int64_t)a[0], a[1], (unsigned)a[2], &stat);
    if (status != 0)
        return status;
    struct statx x = {.mask = 0x7ff, .blksize = (uint32_t)stat.blksize, .nlink = (uint32_t)stat.nlink, .mode = (uint16_t)stat.mode,
                      .ino = stat.ino, .size = (uint64_t)stat.size, .blocks = (uint64_t)stat.blocks,
                      .atime = {stat.atime, (uint32_t)stat.atime_ns, 0}, .ctime = {stat.ctime, (uint32_t)stat.ctime_ns, 0},
                      .mtime = {stat.mtime, (uint32_t)stat.mtime_ns, 0}, .rdev_major = (uint32_t)(stat.rdev >> 8),
                      .rdev_minor = (uint32_t)(stat.rdev & 255), .dev_minor = (uint32_t)stat.dev};
    return copy_to_user(a[4], &x, sizeof x);
}
SYSCALL(332, statx, sys_statx, file);

static int64_t access_at(int64_t directory, uintptr_t address, unsigned mode) {
    struct node *node;
    if (mode & ~7u)
        return -EINVAL;
    int status = place_lookup(directory, address, 0, &node);
    if (status != 0)
        return status;
    uint32_t type = node->mode & S_IFMT;
    if (mode & 2 && node->filesystem->read_only && (type == S_IFREG || type == S_IFDIR || type == S_IFLNK))
        status = -EROFS;
    else if (mode & 1 && type != S_IFDIR && !(node->mode & 0111))
        status = -EACCES; /* even the superuser needs one x bit */
    node_put(node);
    return status;
}
static int64_t sys_access(const uint64_t *a) {
    return access_at(AT_FDCWD, a[0], (unsigned)a[1]);
}
SYSCALL(21, access, sys_access, file);
static int64_t sys_faccessat(const uint64_t *a) {
    return access_at((int64_t)a[0], a[1], (unsigned)a[2]);
}
SYSCALL(269, faccessat, sys_faccessat, file);
SYSCALL(439, faccessat2, sys_faccessat, file);

static int64_t readlink_at(int64_t directory, uintptr_t address, uintptr_t to, int64_t size) {
    struct node *node;
    if (size <= 0)
        return -EINVAL;
    int64_t status = place_lookup(directory, address, LOOKUP_NOFOLLOW, &node);
    if (status != 0)
        return status;
    if ((node->mode & S_IFMT) != S_IFLNK) {
        status = -EINVAL;
    } else {
        int64_t length = (int64_t)strlen(node->data);
        length = length < size ? length : size;
        status = copy_to_user(to, node->data, (size_t)length);
        status = status == 0 ? length : status;
    }
    node_put(node);
    return status;
}
static int64_t sys_readlink(const uint64_t *a) {
    return readlink_at(AT_FDCWD, a[0], a[1], (int64_t)a[2]);
}
SYSCALL(89, readlink, sys_readlink, file);
static int64_t sys_readlinkat(const uint64_t *a) {
    return readlink_at((int64_t)a[0], a[1], a[2], (int64_t)a[3]);
}
SYSCALL(267, readlinkat, sys_readlinkat, file);

static int64_t sys_getcwd(const uint64_t *a) {
    char *buffer = kmalloc(PATH_MAX);
    if (!buffer)
        return -ENOMEM;
    int64_t length = vfs_path(process.directory, buffer, PATH_MAX);
    if (length >= 0)
        length = (size_t)length + 1 > a[1] ? -ERANGE : copy_to_user(a[0], buffer, (size_t)length + 1) ? -EFAULT : length + 1;
    kfree(buffer);
    return length;
}
SYSCALL(79, getcwd, sys_getcwd, file);

static int64_t sys_chdir(const uint64_t *a) {
    struct node *node;
    int status = place_lookup(AT_FDCWD, a[0], LOOKUP_DIRECTORY, &node);
    if (status == 0) {
        node_put(process.directory);
        process.directory = node;
    }
    return status;
}
SYSCALL(80, chdir, sys_chdir, file);

static int64_t sys_fchdir(const uint64_t *a) {
    struct file *file = fd_get(a[0]);
    if (!file)
        return -EBADF;
    int status = file->node && (file->node->mode & S_IFMT) == S_IFDIR ? 0 : -ENOTDIR;
    if (status == 0) {
        node_put(process.directory);
        process.directory = node_get(file->node);
    }
    file_put(file);
    return status;
}
SYSCALL(81, fchdir, sys_fchdir, file);
