#include "nano/vfs.h"

#include "hal/boot.h"
#include "hal/clock.h"
#include "hal/string.h"
#include "nano/errno.h"
#include "nano/heap.h"
#include "nano/init.h"
#include "nano/process.h"
#include "nano/program.h"
#include "nano/vfs_tree.h"

#define MAX_LINKS 40

struct node *vfs_root;

int64_t vfs_now(void) {
    return (int64_t)hal_clock_monotonic() + hal_clock_wall_offset() + process.clock_offset;
}

struct node *node_create(struct filesystem *filesystem, const struct node_ops *ops, const char *name, size_t length, uint32_t mode) {
    struct node *node = kzalloc(sizeof *node);
    if (!node)
        return NULL;
    node->name = kmalloc(length + 1);
    if (!node->name) {
        kfree(node);
        return NULL;
    }
    memcpy(node->name, name, length);
    node->name[length] = '\0';
    node->ops = ops;
    node->filesystem = filesystem;
    node->mode = mode;
    node->references = 1;
    node->links = (mode & S_IFMT) == S_IFDIR ? 2 : 1;
    node->inode = ++filesystem->next_inode;
    return node;
}

/* The tree holds its nodes by this one reference, which node_create() gave. */
void node_attach(struct node *directory, struct node *child) {
    child->parent = directory;
    child->next = directory->children;
    directory->children = child;
    if ((child->mode & S_IFMT) == S_IFDIR)
        directory->links++;
}

void node_detach(struct node *child) {
    struct node **at = &child->parent->children;
    while (*at != child)
        at = &(*at)->next;
    *at = child->next;
    if ((child->mode & S_IFMT) == S_IFDIR)
        child->parent->links--;
}

struct node *node_get(struct node *node) {
    node->references++;
    return node;
}

void node_put(struct node *node) {
    if (--node->references > 0)
        return;
    if (node->ops->free)
        node->ops->free(node);
    kfree(node->name);
    kfree(node);
}

struct node *node_child(struct node *directory, const char *name, size_t length) {
    for (struct node *child = directory->children; child; child = child->next)
        if (strncmp(child->name, name, length) == 0 && child->name[length] == '\0')
            return child;
    return NULL;
}

static struct node *cross_mounts(struct node *node) {
    while (node->mounted)
        node = node->mounted;
    return node;
}

static struct node *parent_of(struct node *node) {
    return node->parent ? node->parent : node;
}

int vfs_step(struct node *directory, const char *name, size_t length, struct node **found) {
    if (length == 1 && name[0] == '.') {
        *found = directory;
        return 0;
    }
    if (length == 2 && name[0] == '.' && name[1] == '.') {
        *found = cross_mounts(parent_of(directory));
        return 0;
    }
    if (length > NAME_MAX)
        return -ENAMETOOLONG;
    struct node *child = node_child(directory, name, length);
    if (!child && directory->ops->lookup && !directory->complete) {
        int status = directory->ops->lookup(directory, name, length);
        if (status != 0)
            return status;
        child = node_child(directory, name, length);
    }
    if (!child)
        return -ENOENT;
    *found = cross_mounts(child);
    return 0;
}

static bool is_dots(const char *name, size_t length) {
    return name[0] == '.' && (length == 1 || (length == 2 && name[1] == '.'));
}

static int walk(struct node *base, const char *path, unsigned flags, struct node **found, char *last, unsigned depth) {
    struct node *at = *path == '/' ? vfs_root : base ? base : process.directory;
    if (!*path)
        return -ENOENT;
    at = cross_mounts(at);
    while (*path) {
        while (*path == '/')
            path++;
        size_t length = 0;
        while (path[length] && path[length] != '/')
            length++;
        const char *rest = path + length;
        while (*rest == '/')
            rest++;
        bool is_last = !*rest;
        if (length == 0)
            break;
        if (!node_is_directory(at))
            return -ENOTDIR;
        if (is_last && flags & LOOKUP_PARENT) {
            if (length > NAME_MAX)
                return -ENAMETOOLONG;
            memcpy(last, path, length);
            last[length] = '\0';
            *found = node_get(at);
            return 0;
        }
        struct node *next;
        bool slash_after = path[length] == '/', creates = is_last && flags & LOOKUP_CREATE;
        if (creates && slash_after && !is_dots(path, length))
            return -EISDIR;
        int status = vfs_step(at, path, length, &next);
        if (status == -ENOENT && creates) {
            memcpy(last, path, length);
            last[length] = '\0';
            *found = node_get(at);
            return LOOKUP_MISSING;
        }
        if (status != 0)
            return status;
        if ((next->mode & S_IFMT) == S_IFLNK && (!is_last || slash_after || !(flags & LOOKUP_NOFOLLOW))) {
            if (depth >= MAX_LINKS)
                return -ELOOP;
            struct node *target;
            node_get(next); /* its target is read while a disk may be waited for */
            status = walk(at, next->data, is_last ? flags & ~(unsigned)LOOKUP_NOFOLLOW : 0, &target, last, depth + 1);
            node_put(next);
            if (status == LOOKUP_MISSING)
                *found = target;
            if (status != 0)
                return status;
            next = target;
            /* Only a directory on a disk makes the next step block, and those are never removed. */
            node_put(target);
        }
        if (slash_after && !node_is_directory(next))
            return -ENOTDIR;
        at = next;
        path = rest;
    }
    if (flags & LOOKUP_PARENT)
        return -EEXIST; /* the root has no last name */
    if (flags & LOOKUP_DIRECTORY && !node_is_directory(at))
        return -ENOTDIR;
    *found = node_get(at);
    return 0;
}

static void (*late_files)(void);

void vfs_make_late(void (*make)(void)) {
    late_files = make;
}

void vfs_late(void) {
    void (*make)(void) = late_files;
    late_files = NULL; /* what it looks for itself finds what there is */
    if (make)
        make();
}

int vfs_lookup(struct node *base, const char *path, unsigned flags, struct node **found, char *last) {
    if (flags & LOOKUP_PARENT)
        vfs_late(); /* what is there is changed */
    int status = walk(base, path, flags, found, last, 0);
    if ((status != -ENOENT && status != LOOKUP_MISSING) || !late_files)
        return status;
    if (status == LOOKUP_MISSING)
        node_put(*found);
    vfs_late();
    return walk(base, path, flags, found, last, 0);
}

int64_t vfs_path(struct node *node, char *buffer, size_t size) {
    size_t at = size;
    if (size < 2)
        return -ENAMETOOLONG;
    buffer[--at] = '\0';
    for (struct node *each = node; parent_of(each) != each; each = parent_of(each)) {
        if (each->removed)
            return -ENOENT;
        /* A filesystem's root has the name of its mount point. */
        size_t length = strlen(each->name);
        if (at < length + 1)
            return -ENAMETOOLONG;
        at -= length;
        memcpy(buffer + at, each->name, length);
        buffer[--at] = '/';
    }
    if (buffer[at] == '\0')
        buffer[--at] = '/';
    memmove(buffer, buffer + at, size - at);
    return (int64_t)(size - at - 1);
}

/* The root is read-only for the program; what the kernel adds to it needs no more than memory. `data` is the node's. */
static int add_to_root(const char *path, uint32_t mode, char *data) {
    char name[NAME_MAX + 1];
    struct node *parent;
    int status = vfs_lookup(vfs_root, path, LOOKUP_PARENT, &parent, name);
    if (status != 0)
        return status;
    struct node *child = node_create(parent->filesystem, parent->ops, name, strlen(name), mode);
    if (child) {
        child->complete = true;
        child->data = data;
        child->size = data ? strlen(data) : 0;
        node_attach(parent, child);
    }
    node_put(parent);
    return child ? 0 : -ENOMEM;
}

int vfs_symlink_path(const char *path, const char *target) {
    struct node *node;
    if (vfs_lookup(vfs_root, path, LOOKUP_NOFOLLOW, &node, NULL) == 0) {
        node_put(node);
        return -EEXIST;
    }
    char *copy = kstrdup(target);
    int status = copy ? add_to_root(path, S_IFLNK | 0777, copy) : -ENOMEM;
    if (status != 0)
        kfree(copy);
    return status;
}

int vfs_mkdir_path(const char *path) {
    char part[PATH_MAX];
    size_t length = strlen(path);
    if (length >= sizeof part)
        return -ENAMETOOLONG;
    for (size_t i = 1; i <= length; i++) {
        if (path[i] != '/' && path[i] != '\0')
            continue;
        memcpy(part, path, i);
        part[i] = '\0';
        struct node *node;
        if (vfs_lookup(vfs_root, part, 0, &node, NULL) == 0) {
            node_put(node);
            continue;
        }
        int status = add_to_root(part, S_IFDIR | 0755, NULL);
        if (status != 0)
            return status;
    }
    return 0;
}

static int mount(const char *path, struct node *root) {
    struct node *point;
    int status = root ? vfs_mkdir_path(path) : -ENOMEM;
    if (status == 0)
        status = vfs_lookup(vfs_root, path, LOOKUP_DIRECTORY, &point, NULL);
    if (status != 0)
        return status;
    char *name = kstrdup(point->name);
    if (!name)
        return -ENOMEM;
    kfree(root->name);
    root->name = name;
    root->parent = point->parent;
    point->mounted = root;
    return 0;
}

void vfs_mount(const char *path, struct node *root) {
    int status = mount(path, root);
    if (status == 0)
        return;
    if (status == -ENOMEM)
        program_fail(FAIL_MEMORY, "The machine has too little memory for the folder '%s', which the kernel mounts.", path);
    program_fail(strcmp(vfs_root->filesystem->type, "rootfs") == 0 ? FAIL_ARCHIVE : FAIL_ROOT_DISK,
                 "The root filesystem has '%s', where the kernel mounts a folder, as something else (error %d): it must be a folder, or not be there.",
                 path, -status);
}

void node_stat(const struct node *node, struct stat64 *stat) {
    *stat = (struct stat64){
        .dev = node->filesystem->device,
        .ino = node->inode,
        .nlink = node->links,
        .mode = node->mode,
        .rdev = node->device,
        .size = (int64_t)node->size,
        .blksize = 4096,
        .blocks = (int64_t)((node->size + 4095) / 4096 * 8),
        .atime = node->accessed / 1000000000,
        .atime_ns = node->accessed % 1000000000,
        .mtime = node->modified / 1000000000,
        .mtime_ns = node->modified % 1000000000,
        .ctime = node->changed / 1000000000,
        .ctime_ns = node->changed % 1000000000,
    };
}

int64_t node_read_kernel(struct node *node, void *to, size_t size, uint64_t offset) {
    struct iter iter;
    struct segment segment;
    iter_init_kernel(&iter, &segment, to, size);
    return node->ops->read ? node->ops->read(node, &iter, offset) : -EINVAL;
}

void vfs_set_root(struct node *root) {
    if (process.directory)
        node_put(process.directory);
    vfs_root = root;
    process.directory = node_get(root);
}

void vfs_init(void) {
    const struct hal_boot *boot = hal_boot();
    process.directory = NULL;
    vfs_set_root(initrd_create_root(boot->initrd, boot->initrd_size));
}

void vfs_mount_all(void) {
    static const char *const points[] = {"/tmp", "/run", "/dev/shm"};
    for (size_t i = 0; i < sizeof points / sizeof points[0]; i++) {
        struct node *root = tmpfs_create_root("tmpfs");
        vfs_mount(points[i], root);
        root->mode = S_IFDIR | (i == 1 ? 0755 : 01777);
    }
    initcalls_run(INIT_MOUNTS);
}
