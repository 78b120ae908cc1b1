/*
 * The program's memory, as system calls see it. Each copy may fault a page in and therefore block: no structure of the
 * kernel may be half changed across one.
 */
#ifndef NANO_USER_H
#define NANO_USER_H

#include "hal/memory.h"

/* 0 or -EFAULT. After -EFAULT a part may have been copied. */
int copy_from_user(void *to, uintptr_t from, size_t size);
int copy_to_user(uintptr_t to, const void *from, size_t size);
int clear_user(uintptr_t to, size_t size);
/* A string with its NUL: its length, -EFAULT, or -ENAMETOOLONG where `size` bytes hold no NUL. */
int64_t copy_string_from_user(char *to, uintptr_t from, size_t size);

/*
 * Where a transfer's bytes come from or go to: a list of segments in the program's memory or in the kernel's, used up
 * from the front. `read` and `write` of files work on it, so that read, readv, recvmsg, sendfile share one path.
 */
struct segment {
    uintptr_t base;
    size_t length;
};
struct iter {
    const struct segment *segments;
    size_t count;  /* segments left, the current one included */
    size_t offset; /* within the current segment */
    size_t left;   /* bytes left in all */
    bool kernel;   /* addresses are the kernel's own */
};

#define IOV_MAX 1024
#define TRANSFER_MAX ((size_t)0x7ffff000) /* what Linux moves at most in one call */

void iter_init_user(struct iter *iter, struct segment *storage, uintptr_t base, size_t length);
void iter_init_kernel(struct iter *iter, struct segment *storage, void *base, size_t length);
/*
 * From the program's iovec array. `storage` has room for `room` segments; more are allocated and returned in *allocated
 * (kfree it). -EINVAL for more than IOV_MAX or a sum over SSIZE_MAX, -EFAULT, -ENOMEM.
 */
int iter_init_iovec(struct iter *iter, struct segment *storage, size_t room, uintptr_t iovec, size_t count, void **allocated);
/* Copies to (put) or from (get) the next bytes; returns how many: fewer than asked only at the end or at a fault. */
size_t iter_put(struct iter *iter, const void *from, size_t size);
size_t iter_get(struct iter *iter, void *to, size_t size);
size_t iter_zero(struct iter *iter, size_t size);
void iter_advance(struct iter *iter, size_t size);

#endif
