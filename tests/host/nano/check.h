/*
 * CHECK: a condition that must hold; the test ends with the place and the words where it does not.
 */
#ifndef CHECK_H
#define CHECK_H

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define CHECK(condition) \
    ((condition) ? (void)0 : (fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition), exit(1)))
#define EQUAL(got, wanted) equal(__FILE__, __LINE__, #got, (int64_t)(got), (int64_t)(wanted))

static inline void equal(const char *file, int line, const char *what, int64_t got, int64_t wanted) {
    if (got != wanted) {
        fprintf(stderr, "%s:%d: %s is %" PRId64 ", not %" PRId64 "\n", file, line, what, got, wanted);
        exit(1);
    }
}

#endif
