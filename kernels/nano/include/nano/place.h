/*
 * Paths that the program passes: a string in its memory and the directory that it starts from.
 */
#ifndef NANO_PLACE_H
#define NANO_PLACE_H

#include "nano/vfs.h"

#define AT_FDCWD (-100)
#define AT_SYMLINK_NOFOLLOW 0x100u

/* A path with its base; place_put() ends both. */
struct place {
    char *path;
    struct node *base;
};

/* A path argument: its length, and in *path a copy that the caller frees; or -EFAULT, -ENAMETOOLONG, -ENOMEM. May block. */
int64_t path_from_user(uintptr_t address, char **path);
/* `directory`: an open directory or AT_FDCWD. As path_from_user(), and -EBADF, -ENOTDIR. May block. */
int place_get(struct place *place, int64_t directory, uintptr_t address);
void place_put(struct place *place);
/* The node that a path leads to, by vfs_lookup() with `flags`; a new reference. May block. */
int place_lookup(int64_t directory, uintptr_t address, unsigned flags, struct node **node);

#endif
