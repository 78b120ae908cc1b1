#include "cache.h"

#include "hal/string.h"
#include "nano/errno.h"
#include "nano/heap.h"
#include "nano/vm.h"

#define BATCH 32 /* pages taken back at a time */

static struct cache_page **buckets;
static size_t bucket_count;
static struct list order;
static struct cache_page *lent; /* the last one: it may not be mapped yet */
static struct page_shrinker shrinker;

static struct cache_page **bucket(const struct node *node, uint64_t index) {
    uint64_t hash = ((uint64_t)(uintptr_t)node >> 4) * 0x9e3779b97f4a7c15u + index * 0xff51afd7ed558ccdu;
    return &buckets[(hash >> 32) & (bucket_count - 1)];
}

static void drop(struct cache_page *page) {
    struct cache_page **at = bucket(page->node, page->index);
    while (*at != page)
        at = &(*at)->next;
    *at = page->next;
    list_remove(&page->order);
    page_free(page->bytes, 0);
    kfree(page);
}

/* One round over the pages; those that were used since the last round get a second chance. Returns how many were freed. */
static size_t sweep(bool mapped_too) {
    size_t freed = 0, count = 0;
    for (struct list *at = order.next; at != &order; at = at->next)
        count++;
    while (count-- > 0 && freed < BATCH) {
        struct cache_page *page = CONTAINER(order.next, struct cache_page, order);
        list_remove(&page->order);
        list_push_back(&order, &page->order);
        if (page->pins || page == lent)
            continue;
        if (page->used) {
            page->used = false;
            continue;
        }
        if (page->node && vm_maps_page(page->node, page->index)) {
            if (!mapped_too)
                continue;
            vm_forget_page(page->node, page->index);
        }
        drop(page);
        freed++;
    }
    return freed;
}

/* Inside page_alloc(), perhaps while page tables are walked: what is mapped must stay mapped. */
static bool shrink(void) {
    return sweep(false) > 0 || sweep(false) > 0;
}

static void reclaim(void) {
    if (sweep(true) == 0)
        sweep(true);
}

int cache_init(void) {
    bucket_count = 256;
    while (bucket_count < 16384 && bucket_count * 16 < page_total())
        bucket_count *= 2;
    kfree(buckets);
    buckets = kcalloc(bucket_count, sizeof *buckets);
    if (!buckets)
        return -ENOMEM;
    list_init(&order);
    lent = NULL;
    shrinker = (struct page_shrinker){.shrink = shrink};
    page_shrinker_add(&shrinker);
    vm_reclaim = reclaim;
    return 0;
}

struct cache_page *cache_find(const struct node *node, uint64_t index) {
    struct cache_page *page = *bucket(node, index);
    while (page && (page->node != node || page->index != index))
        page = page->next;
    if (page)
        page->used = true;
    return page;
}

struct cache_page *cache_make(struct node *node, uint64_t index) {
    struct cache_page *page = kzalloc(sizeof *page);
    uint8_t *bytes = page ? page_alloc(0) : NULL;
    if (!bytes) {
        kfree(page);
        return NULL;
    }
    page->node = node;
    page->index = index;
    page->bytes = bytes;
    struct cache_page **at = bucket(node, index);
    page->next = *at;
    *at = page;
    list_push_back(&order, &page->order);
    return page;
}

void cache_put(struct cache_page *page, size_t from, const uint8_t *bytes, size_t size, bool wanted) {
    size_t to = from + size;
    if (cache_is_full(page) || size == 0)
        return;
    bool touches = page->from == page->to || (from <= page->to && to >= page->from);
    if (!touches && !wanted)
        return;
    memcpy(page->bytes + from, bytes, size);
    if (page->from == page->to || !touches) {
        page->from = (uint16_t)from;
        page->to = (uint16_t)to;
        return;
    }
    page->from = from < page->from ? (uint16_t)from : page->from;
    page->to = to > page->to ? (uint16_t)to : page->to;
}

void *cache_lend(struct cache_page *page) {
    lent = page;
    page->used = true;
    return page->bytes;
}

bool cache_has_room(void) {
    return page_available() > page_total() / 8;
}
