/*
 * Physical pages: a buddy allocator over hal_memory_regions().
 */
#ifndef NANO_PAGE_H
#define NANO_PAGE_H

#include "hal/memory.h"

#define PAGE_SIZE HAL_PAGE_SIZE
#define PAGE_MAX_ORDER 10 /* 4 MiB */

void page_init(void);

/* 2^order contiguous pages, aligned to their size, not cleared. NULL: no memory. The caller frees with the same order. */
void *page_alloc(unsigned order);
void page_free(void *pages, unsigned order);
/* One cleared page. */
void *page_alloc_zeroed(void);

/* Pages managed, and of them free. */
size_t page_total(void);
size_t page_available(void);

/* The order that page_alloc() gave to this block: for the heap, which keeps large blocks' sizes nowhere else. */
unsigned page_order(const void *pages);

/* Called when page_alloc() finds nothing; may free pages (caches) and returns whether it did. */
struct page_shrinker {
    bool (*shrink)(void);
    struct page_shrinker *next;
};
/* Asks each of them once; whether pages were freed. */
bool page_shrink(void);
void page_shrinker_add(struct page_shrinker *shrinker);

#endif
