#include "nano/heap.h"

#include "hal/boot.h"
#include "hal/string.h"
#include "nano/list.h"
#include "nano/page.h"

/*
 * A slab is one page (four for the large classes), aligned to its size, with a header at its begin; so the header of an
 * object is found by its address, and no object is page-aligned, which tells the two kinds of block apart.
 */
struct slab {
    struct list link; /* in the class's list while it has free objects */
    void *free;
    uint16_t used, capacity, class, never_used; /* objects from never_used on were never given out */
};

#define CLASSES 16
static const uint16_t sizes[CLASSES] = {16, 32, 48, 64, 96, 128, 192, 256, 320, 384, 512, 640, 768, 1024, 1344, 2032};
static struct list partial[CLASSES];
static uint8_t class_of[128]; /* by (size - 1) / 16 */
static bool ready;

static void heap_init(void) {
    unsigned class = 0;
    for (unsigned i = 0; i < 128; i++) {
        while (class < CLASSES - 1 && sizes[class] < (i + 1) * 16)
            class++;
        class_of[i] = (uint8_t)class;
    }
    for (unsigned i = 0; i < CLASSES; i++)
        list_init(&partial[i]);
    ready = true;
}

/* The first object's place: after the header, aligned to 64 where the class's size is a multiple of 64. */
static size_t first_offset(unsigned class) {
    return sizes[class] % 64 == 0 ? 64 : 48;
}

static struct slab *slab_create(unsigned class) {
    struct slab *slab = page_alloc(0);
    if (!slab)
        return NULL;
    slab->free = NULL;
    slab->used = slab->never_used = 0;
    slab->class = (uint16_t)class;
    slab->capacity = (uint16_t)((PAGE_SIZE - first_offset(class)) / sizes[class]);
    list_push_front(&partial[class], &slab->link);
    return slab;
}

static unsigned order_for(size_t size) {
    unsigned order = 0;
    while (order <= PAGE_MAX_ORDER && (PAGE_SIZE << order) < size)
        order++;
    return order;
}

void *kmalloc(size_t size) {
    if (!ready)
        heap_init();
    if (size == 0 || size > (PAGE_SIZE << PAGE_MAX_ORDER))
        return NULL;
    if (size > sizes[CLASSES - 1])
        return page_alloc(order_for(size));
    unsigned class = class_of[(size - 1) / 16];
    struct slab *slab = list_empty(&partial[class]) ? slab_create(class) : CONTAINER(partial[class].next, struct slab, link);
    if (!slab)
        return NULL;
    void *object = slab->free;
    if (object)
        slab->free = *(void **)object;
    else
        object = (char *)slab + first_offset(class) + (size_t)slab->never_used++ * sizes[class];
    if (++slab->used == slab->capacity)
        list_remove(&slab->link);
    return object;
}

static struct slab *slab_of(const void *object) {
    return (struct slab *)((uintptr_t)object & ~(uintptr_t)HAL_PAGE_MASK);
}

void kfree(void *block) {
    if (!block)
        return;
    if (((uintptr_t)block & HAL_PAGE_MASK) == 0) {
        page_free(block, page_order(block));
        return;
    }
    struct slab *slab = slab_of(block);
    if (slab->class >= CLASSES || slab->used == 0 || ((uintptr_t)block - (uintptr_t)slab - first_offset(slab->class)) % sizes[slab->class])
        hal_panic("Memory at %p was freed that the heap did not give.", block);
    *(void **)block = slab->free;
    slab->free = block;
    if (slab->used-- == slab->capacity)
        list_push_front(&partial[slab->class], &slab->link);
    if (slab->used == 0 && !(partial[slab->class].next == &slab->link && slab->link.next == &partial[slab->class])) {
        /* The last partial slab of a class stays, so that one object does not cost a page each time. */
        list_remove(&slab->link);
        page_free(slab, 0);
    }
}

size_t kmalloc_size(const void *block) {
    if (((uintptr_t)block & HAL_PAGE_MASK) == 0)
        return PAGE_SIZE << page_order(block);
    return sizes[slab_of(block)->class];
}

void *kzalloc(size_t size) {
    void *block = kmalloc(size);
    if (block)
        memset(block, 0, size);
    return block;
}

void *kcalloc(size_t count, size_t size) {
    size_t bytes;
    return __builtin_mul_overflow(count, size, &bytes) ? NULL : kzalloc(bytes);
}

void *krealloc(void *old, size_t size) {
    if (!old)
        return kmalloc(size);
    size_t have = kmalloc_size(old);
    if (size && size <= have)
        return old;
    void *block = kmalloc(size);
    if (!block)
        return NULL;
    memcpy(block, old, have < size ? have : size);
    kfree(old);
    return block;
}

char *kstrdup(const char *text) {
    size_t size = strlen(text) + 1;
    char *copy = kmalloc(size);
    if (copy)
        memcpy(copy, text, size);
    return copy;
}

void *hal_driver_alloc(size_t size);
void *hal_driver_buffer(size_t size);
void *hal_driver_buffer(size_t size) {
    return kmalloc(size <= sizes[CLASSES - 1] ? (size + 63) & ~(size_t)63 : size);
}

void *hal_driver_alloc(size_t size) {
    void *block = hal_driver_buffer(size);
    return block ? memset(block, 0, size) : NULL;
}
