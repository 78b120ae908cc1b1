/*
 * The kernel's own heap, beside malloc(), which the other tests have in its place: what it keeps when much was taken and
 * given back.
 */
#define kmalloc slab_malloc
#define kzalloc slab_zalloc
#define kcalloc slab_calloc
#define krealloc slab_realloc
#define kfree slab_free
#define kmalloc_size slab_size
#define kstrdup slab_strdup
#define hal_driver_alloc slab_driver_alloc
#define hal_driver_buffer slab_driver_buffer
#include "../../../kernels/nano/src/heap.c"

#include <string.h>

#include "check.h"
#include "host.h"

#define LIVE 144 /* as many objects at once as there are connections in TIME_WAIT, at the most */
#define ROUNDS 20000

static uint64_t state = 1;

static unsigned chance(unsigned below) {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    return (unsigned)(state >> 33) % below;
}

/* Pages that this many objects of a class need. */
static size_t needed(unsigned class, unsigned objects) {
    unsigned each = (PAGE_SIZE - (unsigned)first_offset(class)) / sizes[class];
    return (objects + each - 1) / each;
}

/* However objects come and go, a class has no more pages than the most that there ever were at once needed. */
static void keeps_no_more_than_the_most_ever_needed(unsigned class) {
    static void *objects[LIVE];
    size_t before = page_available(), most = needed(class, LIVE);
    unsigned live = 0;
    for (unsigned round = 0; round < ROUNDS; round++) {
        unsigned at = chance(LIVE);
        if (objects[at]) {
            slab_free(objects[at]);
            objects[at] = NULL;
            live--;
        } else {
            objects[at] = slab_malloc(sizes[class]);
            CHECK(objects[at]);
            memset(objects[at], (int)round, sizes[class]);
            live++;
        }
        CHECK(before - page_available() <= most);
    }
    for (unsigned at = 0; at < LIVE; at++) {
        slab_free(objects[at]);
        objects[at] = NULL;
    }
    CHECK(live > 0 && before - page_available() <= 1);
}

/* The oldest go in groups, as TIME_WAIT is cut: it stays as it is for ever. */
static void a_queue_that_is_cut_in_groups_does_not_creep(unsigned class) {
    static void *queue[LIVE];
    size_t before = page_available(), most = needed(class, LIVE);
    for (unsigned i = 0; i < ROUNDS; i++) {
        if (i % 16 == 0)
            for (unsigned gone = i; gone < i + 16; gone++) {
                slab_free(queue[gone % LIVE]);
                queue[gone % LIVE] = NULL;
            }
        queue[i % LIVE] = slab_malloc(sizes[class]);
        CHECK(queue[i % LIVE] && before - page_available() <= most);
    }
    for (unsigned at = 0; at < LIVE; at++) {
        slab_free(queue[at]);
        queue[at] = NULL;
    }
    CHECK(before - page_available() <= 1);
}

int main(void) {
    host_start((size_t)16 << 20);
    for (unsigned class = 0; class < CLASSES; class++) {
        keeps_no_more_than_the_most_ever_needed(class);
        a_queue_that_is_cut_in_groups_does_not_creep(class);
    }
    return 0;
}
