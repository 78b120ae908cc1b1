/*
 * The inside of the tree of `nano/vfs.h`: for vfs*.c only.
 */
#ifndef NANO_VFS_TREE_H
#define NANO_VFS_TREE_H

#include "nano/vfs.h"

static inline bool node_is_directory(const struct node *node) {
    return (node->mode & S_IFMT) == S_IFDIR;
}

/* Takes a node out of its directory; the tree's reference to it is the caller's then. */
void node_detach(struct node *child);
/*
 * One step of a path: the child of that name, looked up in memory and then by the filesystem, which may block. No new
 * reference. -ENOENT, -ENAMETOOLONG, and what the filesystem answers.
 */
int vfs_step(struct node *directory, const char *name, size_t length, struct node **found);
/* A new child of a directory. No new reference. -EEXIST, -ENOENT (the directory is removed), -EROFS, -ENOMEM. */
int vfs_create_child(struct node *directory, const char *name, uint32_t mode, struct node **created);

#endif
