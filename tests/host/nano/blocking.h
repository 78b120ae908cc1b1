/*
 * Memory of the program that is not there yet: its first touch calls `meanwhile`, once, where a page that comes from a disk
 * would let other threads run.
 */
#ifndef BLOCKING_H
#define BLOCKING_H

#include "check.h"
#include "nano/errno.h"
#include "nano/page.h"
#include "nano/vfs.h"
#include "nano/vm.h"

static void (*meanwhile)(void);

static int blocking_page(struct node *node, uint64_t index, bool write, void **page, bool *borrowed) {
    (void)node;
    (void)index;
    (void)write;
    void (*once)(void) = meanwhile;
    meanwhile = NULL;
    if (once)
        once();
    *page = page_alloc_zeroed();
    *borrowed = false;
    return *page ? 0 : -ENOMEM;
}

static const struct node_ops blocking_ops = {.page = blocking_page};

/* `size` bytes of such memory. */
static inline uintptr_t blocking_memory(size_t size) {
    static struct filesystem filesystem = {"blocking", 99, 0, true, 0};
    struct node *node = node_create(&filesystem, &blocking_ops, "blocking", 8, S_IFREG | 0644);
    CHECK(node);
    node->size = size;
    int64_t at = vm_map(0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, node, 0, NULL);
    CHECK(at > 0);
    node_put(node);
    return (uintptr_t)at;
}

#endif
