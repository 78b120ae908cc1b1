/*
 * The memory and string functions that freestanding C may call, and text formatting. Same meaning as in C11, 7.24.
 */
#ifndef HAL_STRING_H
#define HAL_STRING_H

#include <stdarg.h>

#include "hal/base.h"

void *memcpy(void *restrict to, const void *restrict from, size_t size);
void *memmove(void *to, const void *from, size_t size);
void *memset(void *to, int byte, size_t size);
int memcmp(const void *a, const void *b, size_t size);
void *memchr(const void *memory, int byte, size_t size);
size_t strlen(const char *text);
size_t strnlen(const char *text, size_t limit);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t limit);
char *strchr(const char *text, int byte);
char *strrchr(const char *text, int byte);

#if !__STDC_HOSTED__
/* The compiler may put a copy of few bytes in place of the call, which -fno-builtin else forbids. */
#define memcpy(to, from, size) __builtin_memcpy(to, from, size)
#define memmove(to, from, size) __builtin_memmove(to, from, size)
#define memset(to, byte, size) __builtin_memset(to, byte, size)
#endif

/*
 * snprintf for %d %i %u %x %X %p %s %c %% with flags `-` and `0`, width, precision (for %s, `*` too) and the lengths l,
 * ll, z, h, hh. Returns the length that the whole text has; writes at most `size` bytes, always NUL-terminated if size > 0.
 */
size_t hal_vformat(char *buffer, size_t size, const char *format, va_list arguments);
size_t hal_format(char *buffer, size_t size, const char *format, ...) HAL_PRINTF(3, 4);

#endif
