/*
 * memcpy, memmove and memset of the bare machine (hal/platform/pvh/string.S, whose symbols are renamed to pvh_*), against
 * the plainest loops: every size up to a few blocks, every alignment, every distance of two ranges that overlap.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "check.h"

enum { MAX = 200, MARGIN = 64, ROOM = MAX + 3 * MARGIN };

void *pvh_memcpy(void *to, const void *from, size_t size);
void *pvh_memmove(void *to, const void *from, size_t size);
void *pvh_memset(void *to, int byte, size_t size);

static uint8_t got[ROOM], wanted[ROOM], source[ROOM];

static void fill(uint8_t *memory, uint8_t seed) {
    for (size_t i = 0; i < ROOM; i++)
        memory[i] = (uint8_t)(i * 7 + seed);
}

static void copies_are_exact_and_touch_nothing_else(void) {
    for (size_t size = 0; size <= MAX; size++)
        for (size_t at = 0; at < 9; at++) {
            fill(source, 1);
            fill(got, 100);
            fill(wanted, 100);
            for (size_t i = 0; i < size; i++)
                wanted[MARGIN + at + i] = source[MARGIN + (at * 5) % 8 + i];
            CHECK(pvh_memcpy(got + MARGIN + at, source + MARGIN + (at * 5) % 8, size) == got + MARGIN + at);
            CHECK(memcmp(got, wanted, ROOM) == 0);
        }
}

static void moves_are_exact_at_every_distance(void) {
    for (size_t size = 0; size <= MAX; size++)
        for (ptrdiff_t distance = -40; distance <= 40; distance++) {
            fill(got, 3);
            fill(source, 3);
            fill(wanted, 3);
            for (size_t i = 0; i < size; i++)
                wanted[MARGIN + distance + (ptrdiff_t)i] = source[MARGIN + i];
            CHECK(pvh_memmove(got + MARGIN + distance, got + MARGIN, size) == got + MARGIN + distance);
            CHECK(memcmp(got, wanted, ROOM) == 0);
        }
}

static void settings_are_exact_and_touch_nothing_else(void) {
    for (size_t size = 0; size <= MAX; size++)
        for (size_t at = 0; at < 9; at++) {
            fill(got, 50);
            fill(wanted, 50);
            for (size_t i = 0; i < size; i++)
                wanted[MARGIN + at + i] = 0xa5;
            CHECK(pvh_memset(got + MARGIN + at, 0x7ffffa5, size) == got + MARGIN + at);
            CHECK(memcmp(got, wanted, ROOM) == 0);
        }
}

int main(void) {
    copies_are_exact_and_touch_nothing_else();
    moves_are_exact_at_every_distance();
    settings_are_exact_and_touch_nothing_else();
    return 0;
}
