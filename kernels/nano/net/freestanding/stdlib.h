/*
 * For lwIP, which includes it for malloc(), replaced by net/hooks.h, and for atoi() in a search that nobody calls.
 */
#ifndef NANO_STDLIB_H
#define NANO_STDLIB_H

static inline int atoi(const char *text) {
    int value = 0;
    for (; *text >= '0' && *text <= '9' && value < 1000; text++)
        value = value * 10 + (*text - '0');
    return value;
}

#endif
