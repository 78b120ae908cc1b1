#include "nano/page.h"

#include "hal/boot.h"
#include "hal/kernel.h"
#include "hal/string.h"
#include "nano/list.h"

/*
 * One byte a page: 0xff in the middle of a block or not managed, FREE | order at the head of a free block, the order at
 * the head of one in use. Free blocks hold their list links, so only one page of each is ever touched.
 */
#define FREE 0x40
#define MIDDLE 0xff

static uint8_t *states;
static uint64_t page_count; /* from physical address 0 */
static struct list free_lists[PAGE_MAX_ORDER + 1];
static size_t total, available;
static struct page_shrinker *shrinkers;

static uint64_t index_of(const void *page) {
    return hal_virt_to_phys(page) / PAGE_SIZE;
}

static void *page_at(uint64_t index) {
    return hal_phys_to_virt(index * PAGE_SIZE);
}

static void insert(uint64_t index, unsigned order) {
    while (order < PAGE_MAX_ORDER) {
        uint64_t buddy = index ^ (1ull << order);
        if (buddy + (1ull << order) > page_count || states[buddy] != (FREE | order))
            break;
        list_remove(page_at(buddy));
        states[buddy > index ? buddy : index] = MIDDLE;
        index &= ~(1ull << order);
        order++;
    }
    states[index] = (uint8_t)(FREE | order);
    list_push_front(&free_lists[order], page_at(index));
}

void page_init(void) {
    size_t count;
    const struct hal_region *regions = hal_memory_regions(&count);
    for (unsigned i = 0; i <= PAGE_MAX_ORDER; i++)
        list_init(&free_lists[i]);
    uint64_t end = 0;
    for (size_t i = 0; i < count; i++)
        if (regions[i].base + regions[i].size > end)
            end = regions[i].base + regions[i].size;
    page_count = end / PAGE_SIZE;
    uint64_t table = (page_count + PAGE_SIZE - 1) & ~(uint64_t)HAL_PAGE_MASK;
    /* The table goes to the begin of the first region with room for it. */
    size_t chosen = 0;
    while (chosen < count && regions[chosen].size < table)
        chosen++;
    if (chosen == count)
        hal_panic("The machine has too little memory for the kernel: no room for the table of its %lu pages.", page_count);
    states = hal_phys_to_virt(regions[chosen].base);
    memset(states, MIDDLE, page_count);
    for (size_t i = 0; i < count; i++) {
        uint64_t first = (regions[i].base + (i == chosen ? table : 0)) / PAGE_SIZE;
        uint64_t last = (regions[i].base + regions[i].size) / PAGE_SIZE;
        total += last - first;
        while (first < last) {
            unsigned order = first ? (unsigned)__builtin_ctzll(first) : PAGE_MAX_ORDER;
            if (order > PAGE_MAX_ORDER)
                order = PAGE_MAX_ORDER;
            while (first + (1ull << order) > last)
                order--;
            insert(first, order);
            first += 1ull << order;
        }
    }
    available = total;
}

static void *take(unsigned order) {
    unsigned from = order;
    while (from <= PAGE_MAX_ORDER && list_empty(&free_lists[from]))
        from++;
    if (from > PAGE_MAX_ORDER)
        return NULL;
    struct list *block = free_lists[from].next;
    list_remove(block);
    uint64_t index = index_of(block);
    while (from > order) {
        from--;
        uint64_t upper = index + (1ull << from);
        states[upper] = (uint8_t)(FREE | from);
        list_push_front(&free_lists[from], page_at(upper));
    }
    states[index] = (uint8_t)order;
    available -= (size_t)1 << order;
    return block;
}

void *page_alloc(unsigned order) {
    if (order > PAGE_MAX_ORDER)
        return NULL;
    for (;;) {
        void *block = take(order);
        if (block)
            return block;
        bool freed = false;
        for (struct page_shrinker *shrinker = shrinkers; shrinker; shrinker = shrinker->next)
            freed |= shrinker->shrink();
        if (!freed)
            return NULL;
    }
}

void page_free(void *pages, unsigned order) {
    uint64_t index = index_of(pages);
    if ((uintptr_t)pages & HAL_PAGE_MASK || index >= page_count || states[index] != order)
        hal_panic("A page block at 0x%lx of order %u was freed that is not in use so.", index * PAGE_SIZE, order);
    available += (size_t)1 << order;
    insert(index, order);
}

void *page_alloc_zeroed(void) {
    void *page = page_alloc(0);
    if (page)
        memset(page, 0, PAGE_SIZE);
    return page;
}

unsigned page_order(const void *pages) {
    return states[index_of(pages)];
}

size_t page_total(void) {
    return total;
}

size_t page_available(void) {
    return available;
}

void page_shrinker_add(struct page_shrinker *shrinker) {
    shrinker->next = shrinkers;
    shrinkers = shrinker;
}

hal_phys_t kernel_page_alloc(void) {
    void *page = page_alloc(0);
    return page ? hal_virt_to_phys(page) : 0;
}

void kernel_page_free(hal_phys_t page) {
    page_free(hal_phys_to_virt(page), 0);
}
