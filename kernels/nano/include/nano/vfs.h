/*
 * The tree of files. Every file that was ever looked up is a node in memory; the root is the initrd's tree, tmpfs nodes
 * live beside it, filesystems on disks add their nodes when they are asked for.
 */
#ifndef NANO_VFS_H
#define NANO_VFS_H

#include "nano/file.h"

#define PATH_MAX 4096
#define NAME_MAX 255

struct node;

/* One mounted filesystem. */
struct filesystem {
    const char *type;
    uint64_t device; /* st_dev */
    uint32_t magic;  /* statfs f_type */
    bool read_only;
    uint64_t next_inode;
};

/* Every function may be NULL. Thread context; may block. 0 or a negative error number unless said otherwise. */
struct node_ops {
    /* A directory's children that are not in memory yet: one by name (then adds it by node_attach()), or all. */
    int (*lookup)(struct node *directory, const char *name, size_t length);
    int (*fill)(struct node *directory);
    /* Before the change in memory; NULL: the filesystem is read-only (-EROFS). */
    int (*create)(struct node *directory, struct node *child);
    int (*remove)(struct node *directory, struct node *child);
    int (*rename)(struct node *child, struct node *directory, const char *name);
    int64_t (*read)(struct node *node, struct iter *to, uint64_t offset);
    int64_t (*write)(struct node *node, struct iter *from, uint64_t offset);
    int (*truncate)(struct node *node, uint64_t size);
    int (*sync)(struct node *node, bool data_only);
    /*
     * The page with index `index`, for a mapping. `*borrowed`: it stays the filesystem's own, and stays as long as the
     * node is referenced and not cut, or until vm_forget_page(); one that is not mapped, until the caller blocks. Else it
     * is a copy that the caller owns. NULL function: cannot be mapped (-ENODEV).
     */
    int (*page)(struct node *node, uint64_t index, bool write, void **page, bool *borrowed);
    /* A whole page to borrow, where it costs nothing: neither memory nor time. NULL: none. Must not block. */
    void *(*resident)(struct node *node, uint64_t index);
    void (*free)(struct node *node); /* the last reference to a removed node is gone */
    const struct file_ops *file_ops; /* devices and generated files: what open gives. NULL: regular file */
    int (*open)(struct node *node, struct file *file);
};

struct node {
    const struct node_ops *ops;
    struct filesystem *filesystem;
    struct node *parent, *children, *next;
    struct node *mounted; /* the root of a filesystem that covers this directory */
    char *name;
    uint32_t mode, references;
    uint32_t links;
    uint32_t copies; /* tmpfs: under way between its pages and the program */
    bool complete; /* a directory: all children are in memory */
    bool removed;
    uint64_t inode, size, device;
    int64_t modified, changed, accessed; /* ns since 1970 */
    const void *data; /* the filesystem's own: initrd: the bytes; symbolic links: the target */
    void *private_data;
};

extern struct node *vfs_root;

/* Makes the initrd's tree the root. */
void vfs_init(void);
/* Another root, with the caller's reference to it; before anything is mounted or opened. */
void vfs_set_root(struct node *root);
/* Mounts what every program expects: /tmp, /run, /dev, /proc. */
void vfs_mount_all(void);

/* A new node without parent, one reference. NULL: no memory. */
struct node *node_create(struct filesystem *filesystem, const struct node_ops *ops, const char *name, size_t length, uint32_t mode);
void node_attach(struct node *directory, struct node *child);
struct node *node_get(struct node *node);
void node_put(struct node *node);
struct node *node_child(struct node *directory, const char *name, size_t length);

enum { LOOKUP_NOFOLLOW = 1, LOOKUP_PARENT = 2, LOOKUP_DIRECTORY = 4, LOOKUP_CREATE = 8 };
#define LOOKUP_MISSING 1
/*
 * Walks `path` from `base` (NULL: the current directory). A new reference in *found. With LOOKUP_PARENT, *found is the
 * directory that holds the last name, which goes to `last` (NAME_MAX + 1 bytes). With LOOKUP_CREATE a last name that is not
 * there, that of a followed link's target too, is answered in the same way and with LOOKUP_MISSING; one with a slash behind it
 * is -EISDIR. -ENOENT, -ENOTDIR, -ELOOP, -ENAMETOOLONG.
 */
int vfs_lookup(struct node *base, const char *path, unsigned flags, struct node **found, char *last);
/*
 * Files that few programs look for are made late: `make`, which may block, is called once, before a lookup finds nothing,
 * before names are changed, and before a directory is listed. vfs_late() calls it now, if it was not yet.
 */
void vfs_make_late(void (*make)(void));
void vfs_late(void);
int vfs_open(struct node *base, const char *path, unsigned flags, uint32_t mode, struct file **opened);
/* mkdir, mknod, symlink (with `target`); unlink and rmdir; rename; truncate, as their system calls. */
int vfs_make(struct node *base, const char *path, uint32_t mode, const char *target);
int vfs_remove(struct node *base, const char *path, bool directory_wanted);
int vfs_rename(struct node *old_base, const char *old_path, struct node *new_base, const char *new_path, bool no_replace);
int vfs_truncate(struct node *node, uint64_t size);
int vfs_mkdir_path(const char *path); /* makes missing directories, for mount points */
int vfs_symlink_path(const char *path, const char *target); /* in the root, read-only as it is; -EEXIST: `path` is there */
/* Mounts a filesystem's root; `root` NULL: there was no memory for it. Ends the machine with `fail` where that cannot be. */
void vfs_mount(const char *path, struct node *root);
/* The absolute path of a node. Its length, or -ENAMETOOLONG, -ENOENT (removed). */
int64_t vfs_path(struct node *node, char *buffer, size_t size);
void node_stat(const struct node *node, struct stat64 *stat);
/* A node's bytes to kernel memory: fewer than asked at the end of the file. */
int64_t node_read_kernel(struct node *node, void *to, size_t size, uint64_t offset);
/* Makes a file of the given bytes, or puts them in the place of those it has. Its size, or a negative error number. */
int64_t vfs_write_file(const char *path, uint32_t mode, const void *bytes, size_t size);
int64_t vfs_now(void);
extern const struct file_ops node_file_ops, directory_file_ops;

/* ramfs.c: trees in memory. */
struct node *tmpfs_create_root(const char *name);
extern const struct node_ops tmpfs_ops;
struct node *initrd_create_root(const void *archive, size_t size); /* program_fail() where the archive is malformed */

#endif
