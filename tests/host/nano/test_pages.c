/* The page allocator: blocks are aligned, never overlap, join again, and nothing is lost. */
#include <string.h>

#include "check.h"
#include "hal/memory.h"
#include "host.h"
#include "nano/page.h"

#define COUNT 3000

int main(void) {
    static struct {
        uint8_t *block;
        unsigned order;
    } held[COUNT];
    host_start((size_t)37 << 20);
    size_t before = page_available();
    CHECK(before > (((size_t)37 << 20) / PAGE_SIZE) - 200);
    uint64_t random = 12345;
    for (unsigned round = 0; round < 200000; round++) {
        random = random * 6364136223846793005 + 1442695040888963407;
        unsigned i = (unsigned)(random >> 33) % COUNT, order = (unsigned)(random >> 20) % 100;
        order = order < 60 ? 0 : order < 80 ? 1 : order < 95 ? 3 : order < 99 ? 6 : PAGE_MAX_ORDER;
        if (held[i].block) {
            /* Its first and last bytes are what was written: no other block lay over it. */
            CHECK(held[i].block[0] == (uint8_t)i && held[i].block[(PAGE_SIZE << held[i].order) - 1] == (uint8_t)(i >> 8));
            EQUAL(page_order(held[i].block), held[i].order);
            page_free(held[i].block, held[i].order);
            held[i].block = NULL;
        } else if ((held[i].block = page_alloc(order))) {
            CHECK((hal_virt_to_phys(held[i].block) & ((PAGE_SIZE << order) - 1)) == 0);
            held[i].order = order;
            held[i].block[0] = (uint8_t)i;
            held[i].block[(PAGE_SIZE << order) - 1] = (uint8_t)(i >> 8);
        }
    }
    for (unsigned i = 0; i < COUNT; i++)
        if (held[i].block)
            page_free(held[i].block, held[i].order);
    EQUAL(page_available(), before);
    /* Joined again: large blocks can be had. */
    unsigned large = 0;
    while (page_alloc(PAGE_MAX_ORDER))
        large++;
    CHECK(large >= 7);
    while (page_alloc(0))
        ;
    EQUAL(page_available(), 0);
    CHECK(page_alloc(PAGE_MAX_ORDER + 1) == NULL);
    return 0;
}
