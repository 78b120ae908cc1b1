/*
 * Open files and the program's table of descriptors.
 *
 * To add a type of file: fill a struct file_ops, make a file by file_create(), give it a number by fd_install(). When the
 * readiness that `poll` reports changes, call waitq_wake(&file->waitq, events): blocked readers, poll and epoll hear it.
 */
#ifndef NANO_FILE_H
#define NANO_FILE_H

#include "nano/user.h"
#include "nano/wait.h"

#define POLLIN 0x001u
#define POLLPRI 0x002u
#define POLLOUT 0x004u
#define POLLERR 0x008u
#define POLLHUP 0x010u
#define POLLNVAL 0x020u
#define POLLRDNORM 0x040u
#define POLLWRNORM 0x100u
#define POLLRDHUP 0x2000u

#define O_ACCMODE 3u
#define O_RDONLY 0u
#define O_WRONLY 1u
#define O_RDWR 2u
#define O_CREAT 0100u
#define O_EXCL 0200u
#define O_NOCTTY 0400u
#define O_TRUNC 01000u
#define O_APPEND 02000u
#define O_NONBLOCK 04000u
#define O_DSYNC 010000u
#define O_DIRECT 040000u
#define O_LARGEFILE 0100000u
#define O_DIRECTORY 0200000u
#define O_NOFOLLOW 0400000u
#define O_CLOEXEC 02000000u
#define O_SYNC 04010000u
#define O_PATH 010000000u
#define O_TMPFILE 020200000u

struct file;
struct node;
struct stat64;

/*
 * Every function may be NULL; what the call then answers stands beside it. All in thread context. `offset` is where to
 * read or write; files without a position ignore it. A blocking read or write honours O_NONBLOCK (-EAGAIN) in
 * file->flags and returns -ERESTARTSYS at a signal before the first byte.
 */
struct file_ops {
    int64_t (*read)(struct file *file, struct iter *to, uint64_t offset);    /* -EINVAL */
    int64_t (*write)(struct file *file, struct iter *from, uint64_t offset); /* -EINVAL */
    unsigned (*poll)(struct file *file);                                     /* always POLLIN | POLLOUT */
    int64_t (*ioctl)(struct file *file, unsigned request, uintptr_t argument); /* -ENOTTY */
    int (*stat)(struct file *file, struct stat64 *stat);                     /* from file->node, else an anonymous inode */
    void (*release)(struct file *file); /* the last reference is gone: free `data` */
    bool seekable;                      /* lseek and pread work; the position is file->offset */
    bool is_socket;
    bool seek_does_nothing; /* lseek answers 0 (eventfd and its like) instead of -ESPIPE */
};

struct file {
    const struct file_ops *ops;
    unsigned references;
    unsigned flags; /* O_* of open, changeable by fcntl(F_SETFL) */
    uint64_t offset;
    struct waitq waitq;
    struct node *node; /* what it is in the file tree; NULL: pipe, socket, eventfd, ... */
    void *data;        /* the type's own */
};

/* One reference, held by the caller. NULL: no memory; then `data` and `node` remain the caller's. */
struct file *file_create(const struct file_ops *ops, unsigned flags, void *data);
struct file *file_get(struct file *file);
void file_put(struct file *file);
unsigned file_poll(struct file *file);

/*
 * The descriptor table. fd_install() takes the caller's reference; on failure (-EMFILE, -ENOMEM) the caller keeps it.
 * The lowest free number not below `lowest` is taken.
 */
int fd_install(struct file *file, int lowest, bool close_on_exec);
/* A new file, to be read and written, with a descriptor: what eventfd(2) and its like answer. On failure `data`, which may
 * be NULL (then -ENOMEM), is freed. `flags`: O_NONBLOCK and O_CLOEXEC count. */
int64_t fd_install_new(const struct file_ops *ops, unsigned flags, void *data);
/* The file of a descriptor with a new reference (file_put() it); NULL: -EBADF. */
struct file *fd_get(uint64_t fd);
int fd_close(uint64_t fd);
void fd_close_all(void);
#define FD_LIMIT 65536
/* Puts the caller's reference at `fd`, closing what was there (dup2). On failure the caller keeps it. */
int fd_replace(uint64_t fd, struct file *file, bool close_on_exec);
bool fd_close_on_exec(uint64_t fd);
void fd_set_close_on_exec(uint64_t fd, bool on);
size_t fd_next(size_t fd); /* the first open descriptor from `fd` on; SIZE_MAX: none */

/* With the checks of the access mode; the position is not used. */
int64_t file_read_at(struct file *file, struct iter *to, uint64_t offset);
int64_t file_write_at(struct file *file, struct iter *from, uint64_t offset);

/* Reads or writes at the file's own position and moves it. What read(2) does after finding the file. */
int64_t file_read(struct file *file, struct iter *to);
int64_t file_write(struct file *file, struct iter *from);

/* Linux's struct stat of x86-64. */
struct stat64 {
    uint64_t dev, ino, nlink;
    uint32_t mode, uid, gid, pad;
    uint64_t rdev;
    int64_t size, blksize, blocks;
    int64_t atime, atime_ns, mtime, mtime_ns, ctime, ctime_ns;
    int64_t unused[3];
};
#define S_IFMT 0170000u
#define S_IFSOCK 0140000u
#define S_IFLNK 0120000u
#define S_IFREG 0100000u
#define S_IFBLK 0060000u
#define S_IFDIR 0040000u
#define S_IFCHR 0020000u
#define S_IFIFO 0010000u

#endif
