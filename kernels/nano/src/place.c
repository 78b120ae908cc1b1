#include "nano/place.h"

#include "nano/errno.h"
#include "nano/heap.h"
#include "nano/process.h"
#include "nano/user.h"

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

int place_get(struct place *place, int64_t directory, uintptr_t address) {
    int64_t length = path_from_user(address, &place->path);
    if (length < 0)
        return (int)length;
    int status = base_of(directory, place->path, &place->base);
    if (status != 0)
        kfree(place->path);
    return status;
}

void place_put(struct place *place) {
    node_put(place->base);
    kfree(place->path);
}

int place_lookup(int64_t directory, uintptr_t address, unsigned flags, struct node **node) {
    struct place place;
    int status = place_get(&place, directory, address);
    if (status != 0)
        return status;
    status = vfs_lookup(place.base, place.path, flags, node, NULL);
    place_put(&place);
    return status;
}
