/*
 * From a path to an open file.
 */
#include "hal/string.h"
#include "nano/errno.h"
#include "nano/process.h"
#include "nano/vfs_tree.h"

static int open_node(struct node *node, unsigned flags, struct file **opened) {
    bool writes = (flags & O_ACCMODE) != O_RDONLY;
    if ((node->mode & S_IFMT) == S_IFLNK && !(flags & O_PATH))
        return -ELOOP;
    if (flags & O_DIRECTORY && !node_is_directory(node))
        return -ENOTDIR;
    if (node_is_directory(node) && writes && !(flags & O_PATH))
        return -EISDIR;
    bool regular = (node->mode & S_IFMT) == S_IFREG;
    if (regular && writes && !node->ops->write && !node->ops->file_ops)
        return node->filesystem->read_only ? -EROFS : -EACCES;
    if (regular && flags & O_TRUNC && writes && !node->ops->file_ops) {
        int status = vfs_truncate(node, 0);
        if (status != 0)
            return status;
    }
    const struct file_ops *ops = node_is_directory(node) ? &directory_file_ops : node->ops->file_ops ? node->ops->file_ops : &node_file_ops;
    struct file *file = file_create(ops, flags & ~(O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_CLOEXEC), NULL);
    if (!file)
        return -ENOMEM;
    file->node = node_get(node);
    int status = node->ops->open && !(flags & O_PATH) ? node->ops->open(node, file) : 0;
    if (status != 0) {
        file_put(file);
        return status;
    }
    *opened = file;
    return 0;
}

static int open_temporary(struct node *directory, unsigned flags, uint32_t mode, struct file **opened) {
    if (!node_is_directory(directory))
        return -ENOTDIR;
    if ((flags & O_ACCMODE) == O_RDONLY)
        return -EINVAL;
    if (!directory->ops->create)
        return -EOPNOTSUPP;
    struct node *node = node_create(directory->filesystem, directory->ops, "#tmpfile", 8, S_IFREG | (mode & 07777));
    if (!node)
        return -ENOMEM;
    node->removed = true;
    node->links = 0;
    node->modified = node->changed = node->accessed = vfs_now();
    int status = open_node(node, flags & ~O_DIRECTORY, opened);
    node_put(node);
    return status;
}

int vfs_open(struct node *base, const char *path, unsigned flags, uint32_t mode, struct file **opened) {
    struct node *node = NULL;
    char name[NAME_MAX + 1];
    int status;
    if (flags & O_PATH)
        flags &= ~(O_CREAT | O_EXCL | O_TRUNC);
    unsigned lookup = flags & O_NOFOLLOW || (flags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL) ? LOOKUP_NOFOLLOW : 0;
    if (flags & O_CREAT)
        lookup |= LOOKUP_CREATE;
    if ((flags & O_TMPFILE) == O_TMPFILE) {
        status = vfs_lookup(base, path, 0, &node, NULL);
        if (status == 0) {
            status = open_temporary(node, flags, mode & ~process.umask, opened);
            node_put(node);
        }
        return status;
    }
    status = vfs_lookup(base, path, lookup, &node, name);
    if (status == LOOKUP_MISSING) {
        struct node *directory = node;
        status = vfs_create_child(directory, name, S_IFREG | (mode & 07777 & ~process.umask), &node);
        node_put(directory);
        if (status != 0)
            return status;
        node_get(node);
        flags &= ~O_TRUNC;
    } else if (status == 0 && (flags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL)) {
        status = -EEXIST;
    } else if (status == 0 && flags & O_CREAT && node_is_directory(node)) {
        status = -EISDIR;
    }
    if (status == 0)
        status = open_node(node, flags, opened);
    if (node)
        node_put(node);
    return status;
}
