/*
 * The page cache: pages of files on disks, and of the disk itself. Pages are taken back when memory is short: those that
 * the program does not map at any moment, mapped ones where the program faults (vm_reclaim).
 */
#ifndef NANO_CACHE_H
#define NANO_CACHE_H

#include "nano/list.h"
#include "nano/page.h"

struct node;

struct cache_page {
    struct list order; /* the one used least recently is at the front */
    struct cache_page *next;
    struct node *node; /* NULL: the disk itself */
    uint64_t index;
    uint8_t *bytes;
    uint16_t from, to; /* the bytes that are there: a page may be filled in parts */
    uint16_t pins;     /* stays while it is not 0 */
    bool used;
};

/* Once; with what an earlier machine of the same process left forgotten. 0 or -ENOMEM. */
int cache_init(void);
/* The page, as full as it is; NULL: none. */
struct cache_page *cache_find(const struct node *node, uint64_t index);
/* A new, empty page, which is not there yet. NULL: no memory. */
struct cache_page *cache_make(struct node *node, uint64_t index);
static inline bool cache_is_full(const struct cache_page *page) {
    return page->from == 0 && page->to == PAGE_SIZE;
}
/* Puts bytes into a page. Parts that do not touch what is there replace it where `wanted`, else they are left out. */
void cache_put(struct cache_page *page, size_t from, const uint8_t *bytes, size_t size, bool wanted);
/* The bytes of a full page, for a mapping that is made before the caller blocks. */
void *cache_lend(struct cache_page *page);
/* Whether there is memory to keep what nobody has asked for yet. */
bool cache_has_room(void);

#endif
