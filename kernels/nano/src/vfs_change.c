/*
 * What changes the tree: making, removing, renaming, cutting.
 */
#include "hal/string.h"
#include "nano/errno.h"
#include "nano/heap.h"
#include "nano/vfs_tree.h"

int vfs_create_child(struct node *directory, const char *name, uint32_t mode, struct node **created) {
    if (directory->removed)
        return -ENOENT;
    if (!directory->ops->create)
        return -EROFS;
    if (node_child(directory, name, strlen(name)))
        return -EEXIST;
    struct node *child = node_create(directory->filesystem, directory->ops, name, strlen(name), mode);
    if (!child)
        return -ENOMEM;
    child->modified = child->changed = child->accessed = vfs_now();
    child->complete = true;
    int status = directory->ops->create(directory, child);
    if (status != 0) {
        node_put(child);
        return status;
    }
    node_attach(directory, child);
    directory->modified = directory->changed = child->modified;
    *created = child;
    return 0;
}

int vfs_make(struct node *base, const char *path, uint32_t mode, const char *target) {
    char name[NAME_MAX + 1];
    struct node *directory, *child;
    int status = vfs_lookup(base, path, LOOKUP_PARENT, &directory, name);
    if (status != 0)
        return status;
    status = vfs_step(directory, name, strlen(name), &child);
    if (status == 0) {
        status = -EEXIST;
    } else if (status == -ENOENT) {
        char *copy = target ? kstrdup(target) : NULL;
        status = target && !copy ? -ENOMEM : vfs_create_child(directory, name, mode, &child);
        if (status == 0 && copy) {
            child->data = copy;
            child->size = strlen(copy);
        } else if (status != 0) {
            kfree(copy);
        }
    }
    node_put(directory);
    return status;
}

int vfs_remove(struct node *base, const char *path, bool directory_wanted) {
    char name[NAME_MAX + 1];
    struct node *directory, *child;
    int status = vfs_lookup(base, path, LOOKUP_PARENT, &directory, name);
    if (status == -EEXIST)
        return directory_wanted ? -EBUSY : -EISDIR;
    if (status != 0)
        return status;
    size_t length = strlen(name);
    if (strcmp(name, ".") == 0)
        status = directory_wanted ? -EINVAL : -EISDIR;
    else if (strcmp(name, "..") == 0)
        status = directory_wanted ? -ENOTEMPTY : -EISDIR;
    else
        status = vfs_step(directory, name, length, &child);
    if (status != 0)
        goto out;
    status = child->parent != directory              ? -EBUSY
             : directory_wanted && !node_is_directory(child)  ? -ENOTDIR
             : !directory_wanted && node_is_directory(child)  ? -EISDIR
             : !directory->ops->remove               ? -EROFS
             : node_is_directory(child) && child->children ? -ENOTEMPTY
                                                     : directory->ops->remove(directory, child);
    if (status != 0)
        goto out;
    node_detach(child);
    child->removed = true;
    child->links = 0;
    directory->modified = directory->changed = vfs_now();
    node_put(child);
out:
    node_put(directory);
    return status;
}

static bool is_below(const struct node *node, const struct node *above) {
    for (; node; node = node->parent)
        if (node == above)
            return true;
    return false;
}

int vfs_rename(struct node *old_base, const char *old_path, struct node *new_base, const char *new_path, bool no_replace) {
    char old_name[NAME_MAX + 1], new_name[NAME_MAX + 1];
    struct node *from = NULL, *to = NULL, *child = NULL, *target = NULL;
    int status = vfs_lookup(old_base, old_path, LOOKUP_PARENT, &from, old_name);
    if (status == 0)
        status = vfs_lookup(new_base, new_path, LOOKUP_PARENT, &to, new_name);
    if (status == -EEXIST)
        status = -EBUSY;
    if (status == 0)
        status = vfs_step(from, old_name, strlen(old_name), &child);
    if (status != 0)
        goto out;
    node_get(child);
    status = vfs_step(to, new_name, strlen(new_name), &target);
    if (status != 0 && status != -ENOENT)
        goto out;
    status = 0;
    if (child->parent != from)
        status = -EBUSY;
    else if (from->filesystem != to->filesystem)
        status = -EXDEV;
    else if (!from->ops->rename)
        status = -EROFS;
    else if (to->removed)
        status = -ENOENT;
    else if (is_below(to, child))
        status = -EINVAL;
    else if (target == child)
        goto out;
    else if (target && no_replace)
        status = -EEXIST;
    else if (target && node_is_directory(target) && !node_is_directory(child))
        status = -EISDIR;
    else if (target && !node_is_directory(target) && node_is_directory(child))
        status = -ENOTDIR;
    else if (target && target->children)
        status = -ENOTEMPTY;
    if (status != 0)
        goto out;
    char *name = kstrdup(new_name);
    status = name ? from->ops->rename(child, to, new_name) : -ENOMEM;
    if (status != 0) {
        kfree(name);
        goto out;
    }
    if (target) {
        node_detach(target);
        target->removed = true;
        target->links = 0;
        node_put(target);
    }
    node_detach(child);
    kfree(child->name);
    child->name = name;
    node_attach(to, child);
    child->changed = from->modified = to->modified = vfs_now();
out:
    if (child)
        node_put(child);
    if (from)
        node_put(from);
    if (to)
        node_put(to);
    return status;
}

int vfs_truncate(struct node *node, uint64_t size) {
    if (node_is_directory(node))
        return -EISDIR;
    if ((node->mode & S_IFMT) != S_IFREG || size > INT64_MAX)
        return -EINVAL;
    if (!node->ops->truncate)
        return -EROFS;
    int status = node->ops->truncate(node, size);
    if (status == 0)
        node->modified = node->changed = vfs_now();
    return status;
}
