#include "nano/vfs.h"

#include "hal/boot.h"
#include "hal/clock.h"
#include "hal/string.h"
#include "nano/errno.h"
#include "nano/heap.h"
#include "nano/init.h"
#include "nano/process.h"

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

static void detach(struct node *child) {
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

static bool is_directory(const struct node *node) {
    return (node->mode & S_IFMT) == S_IFDIR;
}

static struct node *cross_mounts(struct node *node) {
    while (node->mounted)
        node = node->mounted;
    return node;
}

static struct node *parent_of(struct node *node) {
    return node->parent ? node->parent : node;
}

/* One step: the child of that name, looked up in memory and then by the filesystem. No new reference. */
static int step(struct node *directory, const char *name, size_t length, struct node **found) {
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
        if (!is_directory(at))
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
        int status = step(at, path, length, &next);
        if (status != 0)
            return status;
        bool slash_after = path[length] == '/';
        if ((next->mode & S_IFMT) == S_IFLNK && (!is_last || slash_after || !(flags & LOOKUP_NOFOLLOW))) {
            if (depth >= MAX_LINKS)
                return -ELOOP;
            struct node *target;
            node_get(next); /* its target is read while a disk may be waited for */
            status = walk(at, next->data, is_last ? flags & ~(unsigned)LOOKUP_PARENT : 0, &target, NULL, depth + 1);
            node_put(next);
            if (status != 0)
                return status;
            next = target;
            /* Only a directory on a disk makes the next step block, and those are never removed. */
            node_put(target);
        }
        if (slash_after && !is_directory(next))
            return -ENOTDIR;
        at = next;
        path = rest;
    }
    if (flags & LOOKUP_PARENT)
        return -EEXIST; /* the root has no last name */
    if (flags & LOOKUP_DIRECTORY && !is_directory(at))
        return -ENOTDIR;
    *found = node_get(at);
    return 0;
}

int vfs_lookup(struct node *base, const char *path, unsigned flags, struct node **found, char *last) {
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

static int create_child(struct node *directory, const char *name, uint32_t mode, struct node **created) {
    if (directory->removed)
        return -ENOENT;
    if (!directory->ops->create)
        return -EROFS;
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
    status = step(directory, name, strlen(name), &child);
    if (status == 0) {
        status = -EEXIST;
    } else if (status == -ENOENT) {
        char *copy = target ? kstrdup(target) : NULL;
        status = target && !copy ? -ENOMEM : create_child(directory, name, mode, &child);
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
        status = step(directory, name, length, &child);
    if (status != 0)
        goto out;
    status = child->parent != directory              ? -EBUSY
             : directory_wanted && !is_directory(child)  ? -ENOTDIR
             : !directory_wanted && is_directory(child)  ? -EISDIR
             : !directory->ops->remove               ? -EROFS
             : is_directory(child) && child->children ? -ENOTEMPTY
                                                     : directory->ops->remove(directory, child);
    if (status != 0)
        goto out;
    detach(child);
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
        status = step(from, old_name, strlen(old_name), &child);
    if (status != 0)
        goto out;
    node_get(child);
    status = step(to, new_name, strlen(new_name), &target);
    if (status != 0 && status != -ENOENT)
        goto out;
    status = 0;
    if (child->parent != from)
        status = -EBUSY;
    else if (from->filesystem != to->filesystem)
        status = -EXDEV;
    else if (!from->ops->rename)
        status = -EROFS;
    else if (is_below(to, child))
        status = -EINVAL;
    else if (target == child)
        goto out;
    else if (target && no_replace)
        status = -EEXIST;
    else if (target && is_directory(target) && !is_directory(child))
        status = -EISDIR;
    else if (target && !is_directory(target) && is_directory(child))
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
        detach(target);
        target->removed = true;
        target->links = 0;
        node_put(target);
    }
    detach(child);
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
    if (is_directory(node))
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

static int open_node(struct node *node, unsigned flags, struct file **opened) {
    bool writes = (flags & O_ACCMODE) != O_RDONLY;
    if ((node->mode & S_IFMT) == S_IFLNK && !(flags & O_PATH))
        return -ELOOP;
    if (flags & O_DIRECTORY && !is_directory(node))
        return -ENOTDIR;
    if (is_directory(node) && writes && !(flags & O_PATH))
        return -EISDIR;
    bool regular = (node->mode & S_IFMT) == S_IFREG;
    if (regular && writes && !node->ops->write && !node->ops->file_ops)
        return node->filesystem->read_only ? -EROFS : -EACCES;
    if (regular && flags & O_TRUNC && writes && !node->ops->file_ops) {
        int status = vfs_truncate(node, 0);
        if (status != 0)
            return status;
    }
    const struct file_ops *ops = is_directory(node) ? &directory_file_ops : node->ops->file_ops ? node->ops->file_ops : &node_file_ops;
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
    if (!is_directory(directory))
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
    int status;
    unsigned lookup = flags & O_NOFOLLOW || (flags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL) ? LOOKUP_NOFOLLOW : 0;
    if ((flags & O_TMPFILE) == O_TMPFILE) {
        status = vfs_lookup(base, path, 0, &node, NULL);
        if (status == 0) {
            status = open_temporary(node, flags, mode & ~process.umask, opened);
            node_put(node);
        }
        return status;
    }
    status = vfs_lookup(base, path, lookup, &node, NULL);
    if (status == -ENOENT && flags & O_CREAT) {
        char name[NAME_MAX + 1];
        struct node *directory;
        size_t length = strlen(path);
        status = vfs_lookup(base, path, LOOKUP_PARENT, &directory, name);
        if (status != 0)
            return status;
        if (length && path[length - 1] == '/')
            status = -EISDIR;
        else
            status = create_child(directory, name, S_IFREG | (mode & 07777 & ~process.umask), &node);
        node_put(directory);
        if (status != 0)
            return status;
        node_get(node);
        flags &= ~O_TRUNC;
    } else if (status == 0 && (flags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL)) {
        status = -EEXIST;
    } else if (status == 0 && flags & O_CREAT && is_directory(node)) {
        status = -EISDIR;
    }
    if (status == 0)
        status = open_node(node, flags, opened);
    if (node)
        node_put(node);
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
        /* The root is read-only for the program; a mount point in it needs no more than memory. */
        char name[NAME_MAX + 1];
        int status = vfs_lookup(vfs_root, part, LOOKUP_PARENT, &node, name);
        if (status != 0)
            return status;
        struct node *child = node_create(node->filesystem, node->ops, name, strlen(name), S_IFDIR | 0755);
        if (child) {
            child->complete = true;
            node_attach(node, child);
        }
        node_put(node);
        if (!child)
            return -ENOMEM;
    }
    return 0;
}

int vfs_mount(const char *path, struct node *root) {
    struct node *point;
    int status = vfs_mkdir_path(path);
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
        if (!root || vfs_mount(points[i], root) != 0)
            hal_panic("There is no memory for a tmpfs at '%s'.", points[i]);
        root->mode = S_IFDIR | (i == 1 ? 0755 : 01777);
    }
    initcalls_run(INIT_MOUNTS);
}
