/*
 * What changes files other than by writing: names and folders, rights and owners, sizes, times. Group `file-changes`.
 */
#include "nano/errno.h"
#include "nano/file.h"
#include "nano/heap.h"
#include "nano/place.h"
#include "nano/process.h"
#include "nano/syscall.h"
#include "nano/user.h"

#define AT_REMOVEDIR 0x200u
#define AT_EMPTY_PATH 0x1000u
#define UTIME_NOW 0x3fffffff
#define UTIME_OMIT 0x3ffffffe

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
SYSCALL(83, mkdir, sys_mkdir, file-changes);
static int64_t sys_mkdirat(const uint64_t *a) {
    return make_at((int64_t)a[0], a[1], S_IFDIR | ((uint32_t)a[2] & 01777 & ~process.umask), NULL);
}
SYSCALL(258, mkdirat, sys_mkdirat, file-changes);

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
SYSCALL(88, symlink, sys_symlink, file-changes);
static int64_t sys_symlinkat(const uint64_t *a) {
    return symlink_at(a[0], (int64_t)a[1], a[2]);
}
SYSCALL(266, symlinkat, sys_symlinkat, file-changes);

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
SYSCALL(87, unlink, sys_unlink, file-changes);
static int64_t sys_rmdir(const uint64_t *a) {
    return remove_at(AT_FDCWD, a[0], true);
}
SYSCALL(84, rmdir, sys_rmdir, file-changes);
static int64_t sys_unlinkat(const uint64_t *a) {
    return a[2] & ~(uint64_t)AT_REMOVEDIR ? -EINVAL : remove_at((int64_t)a[0], a[1], a[2] & AT_REMOVEDIR);
}
SYSCALL(263, unlinkat, sys_unlinkat, file-changes);

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
SYSCALL(82, rename, sys_rename, file-changes);
static int64_t sys_renameat(const uint64_t *a) {
    return rename_at((int64_t)a[0], a[1], (int64_t)a[2], a[3], 0);
}
SYSCALL(264, renameat, sys_renameat, file-changes);
static int64_t sys_renameat2(const uint64_t *a) {
    return rename_at((int64_t)a[0], a[1], (int64_t)a[2], a[3], (unsigned)a[4]);
}
SYSCALL(316, renameat2, sys_renameat2, file-changes);

/* One user: what is root's may be given to root. -1: left as it is. */
static int64_t give_to(const struct node *node, uint32_t user, uint32_t group) {
    bool others = (user != 0 && user != UINT32_MAX) || (group != 0 && group != UINT32_MAX);
    return node->filesystem->read_only ? -EROFS : others ? -EPERM : 0;
}

static int64_t give_path(int base, uintptr_t path, unsigned flags, uint64_t user, uint64_t group) {
    struct node *node;
    int64_t status = place_lookup(base, path, flags, &node);
    if (status != 0)
        return status;
    status = give_to(node, (uint32_t)user, (uint32_t)group);
    node_put(node);
    return status;
}

static int64_t sys_chown(const uint64_t *a) {
    return give_path(AT_FDCWD, a[0], 0, a[1], a[2]);
}
SYSCALL(92, chown, sys_chown, file-changes);

static int64_t sys_lchown(const uint64_t *a) {
    return give_path(AT_FDCWD, a[0], LOOKUP_NOFOLLOW, a[1], a[2]);
}
SYSCALL(94, lchown, sys_lchown, file-changes);

static int64_t sys_fchown(const uint64_t *a) {
    struct file *file = fd_get(a[0]);
    if (!file)
        return -EBADF;
    int64_t status = file->flags & O_PATH ? -EBADF : file->node ? give_to(file->node, (uint32_t)a[1], (uint32_t)a[2]) : 0;
    file_put(file);
    return status;
}
SYSCALL(93, fchown, sys_fchown, file-changes);

static int64_t sys_fchownat(const uint64_t *a) {
    char first;
    if (a[4] & ~(uint64_t)(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
        return -EINVAL;
    if (a[4] & AT_EMPTY_PATH && copy_from_user(&first, a[1], 1) == 0 && !first)
        return sys_fchown((const uint64_t[]){a[0], a[2], a[3]});
    return give_path((int)a[0], a[1], a[4] & AT_SYMLINK_NOFOLLOW ? LOOKUP_NOFOLLOW : 0, a[2], a[3]);
}
SYSCALL(260, fchownat, sys_fchownat, file-changes);

static int64_t sys_fchmodat(const uint64_t *a) {
    struct node *node;
    int status = place_lookup((int)a[0], a[1], 0, &node);
    if (status != 0)
        return status;
    status = node->filesystem->read_only ? -EROFS : 0;
    if (status == 0)
        node->mode = (node->mode & S_IFMT) | ((uint32_t)a[2] & 07777);
    node_put(node);
    return status;
}
SYSCALL(268, fchmodat, sys_fchmodat, file-changes);

static int64_t sys_ftruncate(const uint64_t *a) {
    struct file *file = fd_get(a[0]);
    if (!file)
        return -EBADF;
    int status;
    if (!file->node || (file->flags & O_ACCMODE) == O_RDONLY || (int64_t)a[1] < 0)
        status = -EINVAL;
    else
        status = vfs_truncate(file->node, a[1]);
    file_put(file);
    return status;
}
SYSCALL(77, ftruncate, sys_ftruncate, file-changes);

static int64_t sys_truncate(const uint64_t *a) {
    struct node *node;
    if ((int64_t)a[1] < 0)
        return -EINVAL;
    int status = place_lookup(AT_FDCWD, a[0], 0, &node);
    if (status != 0)
        return status;
    status = vfs_truncate(node, a[1]);
    node_put(node);
    return status;
}
SYSCALL(76, truncate, sys_truncate, file-changes);

static int64_t sys_fallocate(const uint64_t *a) {
    struct file *file = fd_get(a[0]);
    if (!file)
        return -EBADF;
    int64_t offset = (int64_t)a[2], length = (int64_t)a[3], end, status;
    if ((file->flags & O_ACCMODE) == O_RDONLY)
        status = -EBADF;
    else if (offset < 0 || length <= 0)
        status = -EINVAL;
    else if (!file->node || (file->node->mode & S_IFMT) != S_IFREG)
        status = file->node ? -ENODEV : -ESPIPE;
    else if (a[1])
        status = -EOPNOTSUPP;
    else if (__builtin_add_overflow(offset, length, &end))
        status = -EFBIG;
    else
        status = (uint64_t)end > file->node->size ? vfs_truncate(file->node, (uint64_t)end) : 0;
    file_put(file);
    return status;
}
SYSCALL(285, fallocate, sys_fallocate, file-changes);

static int64_t sys_chmod(const uint64_t *a) {
    struct node *node;
    int status = place_lookup(AT_FDCWD, a[0], 0, &node);
    if (status != 0)
        return status;
    status = node->filesystem->read_only ? -EROFS : 0;
    if (status == 0)
        node->mode = (node->mode & S_IFMT) | ((uint32_t)a[1] & 07777);
    node_put(node);
    return status;
}
SYSCALL(90, chmod, sys_chmod, file-changes);

static int64_t sys_fchmod(const uint64_t *a) {
    struct file *file = fd_get(a[0]);
    if (!file)
        return -EBADF;
    int status = file->node && file->node->filesystem->read_only ? -EROFS : 0;
    if (status == 0 && file->node)
        file->node->mode = (file->node->mode & S_IFMT) | ((uint32_t)a[1] & 07777);
    file_put(file);
    return status;
}
SYSCALL(91, fchmod, sys_fchmod, file-changes);

static int64_t sys_utimensat(const uint64_t *a) {
    struct node *node = NULL;
    int64_t status = 0, times[4] = {0, UTIME_NOW, 0, UTIME_NOW};
    if (a[2] && copy_from_user(times, a[2], sizeof times) != 0)
        return -EFAULT;
    if (times[1] == UTIME_OMIT && times[3] == UTIME_OMIT)
        return 0; /* not even the path is looked at */
    for (unsigned i = 1; i < 4; i += 2)
        if (times[i] != UTIME_NOW && times[i] != UTIME_OMIT && (times[i] < 0 || times[i] >= 1000000000))
            return -EINVAL;
    if (a[1] || (int)a[0] == AT_FDCWD) {
        if (a[3] & ~(uint64_t)AT_SYMLINK_NOFOLLOW)
            return -EINVAL;
        status = place_lookup((int64_t)a[0], a[1], a[3] ? LOOKUP_NOFOLLOW : 0, &node);
    } else {
        struct file *file = a[3] ? NULL : fd_get(a[0]);
        if (!file)
            return a[3] ? -EINVAL : -EBADF;
        if (file->node)
            node = node_get(file->node);
        file_put(file);
    }
    if (status != 0 || !node)
        return status;
    if (node->filesystem->read_only) {
        status = -EROFS;
    } else {
        int64_t now = vfs_now();
        node->changed = now;
        for (unsigned i = 0; i < 2; i++)
            if (times[2 * i + 1] != UTIME_OMIT)
                *(i ? &node->modified : &node->accessed) = times[2 * i + 1] == UTIME_NOW ? now : times[2 * i] * 1000000000 + times[2 * i + 1];
    }
    node_put(node);
    return status;
}
SYSCALL(280, utimensat, sys_utimensat, file-changes);
