#include "nano/page.h"

#include "hal/boot.h"
#include "hal/kernel.h"
#include "hal/string.h"
#include "nano/program.h"

/*
 * One byte a page: 0xff in the middle of a block or not managed, FREE | order at the head of a free block, the order at
 * the head of one in use. The free lists' links stand in a table too: free memory is never touched, since the host gives
 * memory (2 MiB at a time, and cleared) for whatever is touched.
 */
#define FREE 0x40
#define MIDDLE 0xff
#define ORDERS (PAGE_MAX_ORDER + 1)

struct link {
    uint32_t next, prev;
};

static uint8_t *states;
static struct link *links; /* by page index; after those, the heads of the lists by order */
static uint64_t page_count; /* from physical address 0 */
static size_t total, available;
static struct page_shrinker *shrinkers;

static uint32_t head_of(unsigned order) {
    return (uint32_t)page_count + order;
}

static bool is_empty(unsigned order) {
    return links[head_of(order)].next == head_of(order);
}

static void unlink(uint32_t index) {
    links[links[index].prev].next = links[index].next;
    links[links[index].next].prev = links[index].prev;
}

static void link_after(uint32_t at, uint32_t index) {
    links[index] = (struct link){links[at].next, at};
    links[links[at].next].prev = index;
    links[at].next = index;
}

static uint64_t index_of(const void *page) {
    return hal_virt_to_phys(page) / PAGE_SIZE;
}

static void *page_at(uint64_t index) {
    return hal_phys_to_virt(index * PAGE_SIZE);
}

/* Puts a free block at the front of its list, joined with its free buddies. */
static void insert(uint64_t index, unsigned order) {
    while (order < PAGE_MAX_ORDER) {
        uint64_t buddy = index ^ (1ull << order);
        if (buddy + (1ull << order) > page_count || states[buddy] != (FREE | order))
            break;
        unlink((uint32_t)buddy);
        states[buddy > index ? buddy : index] = MIDDLE;
        index &= ~(1ull << order);
        order++;
    }
    states[index] = (uint8_t)(FREE | order);
    link_after(head_of(order), (uint32_t)index);
}

void page_init(void) {
    size_t count;
    shrinkers = NULL;
    total = 0;
    const struct hal_region *regions = hal_memory_regions(&count);
    uint64_t end = 0;
    for (size_t i = 0; i < count; i++)
        if (regions[i].base + regions[i].size > end)
            end = regions[i].base + regions[i].size;
    page_count = end / PAGE_SIZE;
    uint64_t states_size = (page_count + 7) & ~7ull;
    uint64_t table = (states_size + (page_count + ORDERS) * sizeof *links + HAL_PAGE_MASK) & ~(uint64_t)HAL_PAGE_MASK;
    /* The tables go to the begin of the first region with room for them, and not to the memory below 1 MiB. */
    size_t chosen = 0;
    while (chosen < count && regions[chosen].size < table)
        chosen++;
    if (chosen == count)
        program_fail(FAIL_MEMORY, "The machine has too little memory for the kernel: no room for the table of its %lu pages.", page_count);
    states = hal_phys_to_virt(regions[chosen].base);
    memset(states, MIDDLE, page_count);
    links = (struct link *)(states + states_size);
    for (unsigned i = 0; i < ORDERS; i++)
        links[head_of(i)] = (struct link){head_of(i), head_of(i)};
    /* From the top downwards, so that the lowest memory is at the front of the lists and is used first. */
    for (size_t i = count; i-- > 0;) {
        uint64_t first = (regions[i].base + (i == chosen ? table : 0)) / PAGE_SIZE;
        uint64_t last = (regions[i].base + regions[i].size) / PAGE_SIZE;
        total += last - first;
        while (first < last) {
            unsigned order = (unsigned)__builtin_ctzll(last);
            if (order > PAGE_MAX_ORDER)
                order = PAGE_MAX_ORDER;
            while (first + (1ull << order) > last)
                order--;
            last -= 1ull << order;
            insert(last, order);
        }
    }
    available = total;
}

static void *take(unsigned order) {
    unsigned from = order;
    while (from <= PAGE_MAX_ORDER && is_empty(from))
        from++;
    if (from > PAGE_MAX_ORDER)
        return NULL;
    uint32_t index = links[head_of(from)].next;
    unlink(index);
    while (from > order) {
        from--;
        uint32_t upper = index + (1u << from);
        states[upper] = (uint8_t)(FREE | from);
        link_after(head_of(from), upper);
    }
    states[index] = (uint8_t)order;
    available -= (size_t)1 << order;
    return page_at(index);
}

bool page_shrink(void) {
    bool freed = false;
    for (struct page_shrinker *shrinker = shrinkers; shrinker; shrinker = shrinker->next)
        freed |= shrinker->shrink();
    return freed;
}

void *page_alloc(unsigned order) {
    if (order > PAGE_MAX_ORDER)
        return NULL;
    for (;;) {
        void *block = take(order);
        if (block)
            return block;
        if (!page_shrink())
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
