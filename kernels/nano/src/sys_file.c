/*
 * System calls on files: group `file`.
 */
#include "hal/string.h"
#include "nano/errno.h"
#include "nano/file.h"
#include "nano/heap.h"
#include "nano/page.h"
#include "nano/process.h"
#include "nano/signal.h"
#include "nano/syscall.h"
#include "nano/vfs.h"

#define AT_FDCWD (-100)
#define AT_SYMLINK_NOFOLLOW 0x100u
#define AT_REMOVEDIR 0x200u
#define AT_EMPTY_PATH 0x1000u
#define FAST_SEGMENTS 8
#define RWF_SUPPORTED 0x7u

int64_t path_from_user(uintptr_t address, char **path) {
    char *buffer = kmalloc(PATH_MAX);
    if (!buffer)
        return -ENOMEM;
    int64_t length = copy_string_from_user(buffer, address, PATH_MAX);
    if (length < 0) {
        kfree(buffer);
        return length;
    }
    *path = buffer;
    return length;
}

/* The directory that a path starts from; a reference that node_put() must return. */
static int base_of(int64_t directory, const char *path, struct node **base) {
    if (*path == '/' || (int)directory == AT_FDCWD) {
        *base = node_get(*path == '/' ? vfs_root : process.directory);
        return 0;
    }
    struct file *file = fd_get((uint64_t)directory);
    if (!file)
        return -EBADF;
    int status = !file->node || (file->node->mode & S_IFMT) != S_IFDIR ? -ENOTDIR : 0;
    if (status == 0)
        *base = node_get(file->node);
    file_put(file);
    return status;
}

/* A path argument with its base. */
struct place {
    char *path;
    struct node *base;
};

static int place_get(struct place *place, int64_t directory, uintptr_t address) {
    int64_t length = path_from_user(address, &place->path);
    if (length < 0)
        return (int)length;
    int status = base_of(directory, place->path, &place->base);
    if (status != 0)
        kfree(place->path);
    return status;
}

static void place_put(struct place *place) {
    node_put(place->base);
    kfree(place->path);
}

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

static int stat_file(struct file *file, struct stat64 *stat) {
    *stat = (struct stat64){.dev = 13, .ino = (uintptr_t)file >> 4 & 0xffffff, .nlink = 1, .mode = 0600, .blksize = 4096};
    if (file->ops->stat)
        return file->ops->stat(file, stat);
    if (file->node)
        node_stat(file->node, stat);
    return 0;
}

static int stat_path(int64_t directory, uintptr_t address, unsigned flags, struct stat64 *stat) {
    struct place place;
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
    int status = place_get(&place, directory, address);
    if (status != 0)
        return status;
    status = vfs_lookup(place.base, place.path, flags & AT_SYMLINK_NOFOLLOW ? LOOKUP_NOFOLLOW : 0, &node, NULL);
    place_put(&place);
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
    struct place place;
    struct node *node;
    if (mode & ~7u)
        return -EINVAL;
    int status = place_get(&place, directory, address);
    if (status != 0)
        return status;
    status = vfs_lookup(place.base, place.path, 0, &node, NULL);
    place_put(&place);
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
    struct place place;
    struct node *node;
    if (size <= 0)
        return -EINVAL;
    int64_t status = place_get(&place, directory, address);
    if (status != 0)
        return status;
    status = vfs_lookup(place.base, place.path, LOOKUP_NOFOLLOW, &node, NULL);
    place_put(&place);
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
    struct place place;
    struct node *node;
    int status = place_get(&place, AT_FDCWD, a[0]);
    if (status != 0)
        return status;
    status = vfs_lookup(place.base, place.path, LOOKUP_DIRECTORY, &node, NULL);
    place_put(&place);
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

static int64_t make_at(int64_t directory, uintptr_t address, uint32_t mode, const char *target) {
    struct place place;
    int status = place_get(&place, directory, address);
    if (status == 0) {
        status = vfs_make(place.base, place.path, mode, target);
        place_put(&place);
    }
    return status;
}
static int64_t sys_mkdir(const uint64_t *a) {
    return make_at(AT_FDCWD, a[0], S_IFDIR | ((uint32_t)a[1] & 01777 & ~process.umask), NULL);
}
SYSCALL(83, mkdir, sys_mkdir, file);
static int64_t sys_mkdirat(const uint64_t *a) {
    return make_at((int64_t)a[0], a[1], S_IFDIR | ((uint32_t)a[2] & 01777 & ~process.umask), NULL);
}
SYSCALL(258, mkdirat, sys_mkdirat, file);

static int64_t symlink_at(uintptr_t target_address, int64_t directory, uintptr_t address) {
    char *target;
    int64_t length = path_from_user(target_address, &target);
    if (length < 0)
        return length;
    int64_t status = length == 0 ? -ENOENT : make_at(directory, address, S_IFLNK | 0777, target);
    kfree(target);
    return status;
}
static int64_t sys_symlink(const uint64_t *a) {
    return symlink_at(a[0], AT_FDCWD, a[1]);
}
SYSCALL(88, symlink, sys_symlink, file);
static int64_t sys_symlinkat(const uint64_t *a) {
    return symlink_at(a[0], (int64_t)a[1], a[2]);
}
SYSCALL(266, symlinkat, sys_symlinkat, file);

static int64_t remove_at(int64_t directory, uintptr_t address, bool directory_wanted) {
    struct place place;
    int status = place_get(&place, directory, address);
    if (status == 0) {
        status = vfs_remove(place.base, place.path, directory_wanted);
        place_put(&place);
    }
    return status;
}
static int64_t sys_unlink(const uint64_t *a) {
    return remove_at(AT_FDCWD, a[0], false);
}
SYSCALL(87, unlink, sys_unlink, file);
static int64_t sys_rmdir(const uint64_t *a) {
    return remove_at(AT_FDCWD, a[0], true);
}
SYSCALL(84, rmdir, sys_rmdir, file);
static int64_t sys_unlinkat(const uint64_t *a) {
    return a[2] & ~(uint64_t)AT_REMOVEDIR ? -EINVAL : remove_at((int64_t)a[0], a[1], a[2] & AT_REMOVEDIR);
}
SYSCALL(263, unlinkat, sys_unlinkat, file);

static int64_t rename_at(int64_t old_directory, uintptr_t old, int64_t new_directory, uintptr_t new, unsigned flags) {
    struct place from, to;
    if (flags & ~1u)
        return -EINVAL;
    int status = place_get(&from, old_directory, old);
    if (status != 0)
        return status;
    status = place_get(&to, new_directory, new);
    if (status == 0) {
        status = vfs_rename(from.base, from.path, to.base, to.path, flags & 1);
        place_put(&to);
    }
    place_put(&from);
    return status;
}
static int64_t sys_rename(const uint64_t *a) {
    return rename_at(AT_FDCWD, a[0], AT_FDCWD, a[1], 0);
}
SYSCALL(82, rename, sys_rename, file);
static int64_t sys_renameat(const uint64_t *a) {
    return rename_at((int64_t)a[0], a[1], (int64_t)a[2], a[3], 0);
}
SYSCALL(264, renameat, sys_renameat, file);
static int64_t sys_renameat2(const uint64_t *a) {
    return rename_at((int64_t)a[0], a[1], (int64_t)a[2], a[3], (unsigned)a[4]);
}
SYSCALL(316, renameat2, sys_renameat2, file);
