/*
 * The kernel's heap by the C library's malloc, so that the sanitizer sees every block's bounds and life.
 */
#include "nano/heap.h"

#include <malloc.h>
#include <stdlib.h>

#include "hal/driver.h"
#include "hal/memory.h"
#include "hal/string.h"
#include "nano/page.h"

#define LARGEST ((size_t)4 << 20) /* as the real one: 2^PAGE_MAX_ORDER pages */

void *kmalloc(size_t size) {
    return size && size <= LARGEST ? malloc(size) : NULL;
}

void *kzalloc(size_t size) {
    return size && size <= LARGEST ? calloc(1, size) : NULL;
}

void *kcalloc(size_t count, size_t size) {
    size_t bytes;
    return __builtin_mul_overflow(count, size, &bytes) ? NULL : kzalloc(bytes);
}

void *krealloc(void *old, size_t size) {
    return size && size <= LARGEST ? realloc(old, size) : NULL;
}

void kfree(void *block) {
    free(block);
}

size_t kmalloc_size(const void *block) {
    return malloc_usable_size((void *)block);
}

char *kstrdup(const char *text) {
    size_t size = strlen(text) + 1;
    char *copy = kmalloc(size);
    return copy ? memcpy(copy, text, size) : NULL;
}

/* Of the machine's RAM: a device may be told where it is. */
void *hal_driver_alloc(size_t size) {
    unsigned order = 0;
    while ((HAL_PAGE_SIZE << order) < size)
        order++;
    void *block = page_alloc(order);
    if (block)
        memset(block, 0, HAL_PAGE_SIZE << order);
    return block;
}

/* Filled with what no device writes, so that a test sees who reads it before. */
void *hal_driver_buffer(size_t size) {
    void *block = hal_driver_alloc(size);
    return block ? memset(block, 0xa5, size) : NULL;
}
