/*
 * The kernel's heap. Sizes up to 2 KiB come from slabs of one size class, larger ones from page_alloc(). Any context.
 */
#ifndef NANO_HEAP_H
#define NANO_HEAP_H

#include "hal/base.h"

/* Aligned to 16 bytes (from 64 bytes upwards where the size is a power of two: to 64). NULL: no memory, or size is 0. */
void *kmalloc(size_t size);
void *kzalloc(size_t size);
/* NULL too where count * size overflows. */
void *kcalloc(size_t count, size_t size);
/* Keeps the first min(old, new) bytes; `old` stays valid when NULL is returned. */
void *krealloc(void *old, size_t size);
void kfree(void *block);
/* The bytes that a block really has. */
size_t kmalloc_size(const void *block);
char *kstrdup(const char *text);

#endif
