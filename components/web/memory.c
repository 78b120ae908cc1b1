/* memset() (C11 7.24.6.1) for the whole program in place of musl's, which is one string instruction: a translating
 * emulator takes as long for each of its steps as for a few plain stores, and libmicrohttpd clears a connection's pool
 * for every request. Under sanitizers memset() is theirs. */
#include <stddef.h>

#if defined __has_feature
#if __has_feature(address_sanitizer) || __has_feature(memory_sanitizer) || __has_feature(thread_sanitizer)
#define OWNED_BY_SANITIZER 1
#endif
#endif

#if !defined __SANITIZE_ADDRESS__ && !defined OWNED_BY_SANITIZER

typedef long long block __attribute__((vector_size(16), aligned(1), may_alias));

void *memset(void *to, int value, size_t size);

/* The compiler must not make calls of memset() of these loops. */
__attribute__((optimize("no-tree-loop-distribute-patterns"))) void *memset(void *to, int value, size_t size) {
    unsigned char *at = to;
    if (size < sizeof(block)) {
        for (size_t i = 0; i < size; i++)
            at[i] = (unsigned char)value;
        return to;
    }
    long long word = (long long)(0x0101010101010101u * (unsigned char)value);
    block filled = {word, word};
    unsigned char *last = at + size - sizeof(block); /* the last block overlaps the one before it */
    for (; size >= 8 * sizeof(block); size -= 8 * sizeof(block), at += 8 * sizeof(block)) {
        block *row = (block *)at;
        row[0] = row[1] = row[2] = row[3] = row[4] = row[5] = row[6] = row[7] = filled;
    }
    for (; size >= sizeof(block); size -= sizeof(block), at += sizeof(block))
        *(block *)at = filled;
    *(block *)last = filled;
    return to;
}

#endif
