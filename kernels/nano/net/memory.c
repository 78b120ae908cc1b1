/*
 * lwIP's memory, randomness and checksums.
 */
#include "hal/clock.h"
#include "hal/boot.h"
#include "hal/string.h"
#include "lwip/ip_addr.h"
#include "nano/heap.h"
#include "nano/page.h"
#include "nano/random.h"
#include "net/hooks.h"
#include "net/net.h"

#define RESERVE_SHARE 16 /* of all pages, what traffic must leave to the program */

/* What caches hold counts as free: they grow until all memory is used. */
static bool enough(void) {
    while (page_available() < page_total() / RESERVE_SHARE)
        if (!page_shrink())
            return false;
    return true;
}

void *net_memory_alloc(size_t size) {
    return enough() ? kmalloc(size) : NULL;
}

void *net_memory_calloc(size_t count, size_t size) {
    return enough() ? kcalloc(count, size) : NULL;
}

void net_memory_free(void *block) {
    kfree(block);
}

bool net_memory_is_stable(const void *data, size_t size) {
    const struct hal_boot *boot = hal_boot();
    uintptr_t begin = (uintptr_t)boot->initrd, at = (uintptr_t)data;
    return boot->initrd && at >= begin && size <= boot->initrd_size && at - begin <= boot->initrd_size - size;
}

uint32_t net_random32(void) {
    return (uint32_t)random_u64();
}

static uint64_t word_at(const uint8_t *at) {
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

/*
 * Eight words a round, their carries counted apart: the sum modulo 2^16-1 does not care in which width it is taken (RFC
 * 1071, 2(B)); an odd address only swaps the bytes of the result.
 */
uint16_t net_checksum(const void *data, int length) {
    const uint8_t *at = data;
    size_t left = (size_t)length;
    uint64_t sum = 0, carries = 0;
    uint32_t word32;
    uint16_t word16;
    for (; left >= 64; left -= 64, at += 64) {
        carries += __builtin_add_overflow(sum, word_at(at), &sum);
        carries += __builtin_add_overflow(sum, word_at(at + 8), &sum);
        carries += __builtin_add_overflow(sum, word_at(at + 16), &sum);
        carries += __builtin_add_overflow(sum, word_at(at + 24), &sum);
        carries += __builtin_add_overflow(sum, word_at(at + 32), &sum);
        carries += __builtin_add_overflow(sum, word_at(at + 40), &sum);
        carries += __builtin_add_overflow(sum, word_at(at + 48), &sum);
        carries += __builtin_add_overflow(sum, word_at(at + 56), &sum);
    }
    for (; left >= 8; left -= 8, at += 8)
        carries += __builtin_add_overflow(sum, word_at(at), &sum);
    if (left >= 4) {
        memcpy(&word32, at, 4);
        carries += __builtin_add_overflow(sum, (uint64_t)word32, &sum);
        at += 4;
        left -= 4;
    }
    if (left >= 2) {
        memcpy(&word16, at, 2);
        carries += __builtin_add_overflow(sum, (uint64_t)word16, &sum);
        at += 2;
        left -= 2;
    }
    if (left)
        carries += __builtin_add_overflow(sum, (uint64_t)*at, &sum);
    carries += __builtin_add_overflow(sum, carries, &sum);
    sum = (sum & UINT32_MAX) + (sum >> 32);
    sum = (sum & UINT32_MAX) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}

/* SipHash-2-4 (Aumasson, Bernstein 2012) of whole words. */
static uint64_t rotate(uint64_t value, unsigned bits) {
    return value << bits | value >> (64 - bits);
}
static void sip_round(uint64_t v[4]) {
    v[0] += v[1];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[0] = rotate(v[0], 32);
    v[2] += v[3];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[2] = rotate(v[2], 32);
}
static uint64_t sip_hash(const uint64_t key[2], const uint64_t *words, size_t count) {
    uint64_t v[4] = {key[0] ^ 0x736f6d6570736575, key[1] ^ 0x646f72616e646f6d, key[0] ^ 0x6c7967656e657261, key[1] ^ 0x7465646279746573};
    for (size_t i = 0; i <= count; i++) {
        uint64_t word = i < count ? words[i] : (uint64_t)(count * 8) << 56;
        v[3] ^= word;
        sip_round(v);
        sip_round(v);
        v[0] ^= word;
    }
    v[2] ^= 0xff;
    for (unsigned i = 0; i < 4; i++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

uint32_t net_tcp_isn(const struct ip_addr *local, uint16_t local_port, const struct ip_addr *remote, uint16_t remote_port) {
    static uint64_t key[2];
    static bool keyed;
    if (!keyed) {
        random_bytes(key, sizeof key);
        keyed = true;
    }
    uint64_t words[5] = {0};
    const struct ip_addr *addresses[2] = {local, remote};
    for (unsigned i = 0; i < 2; i++) {
        if (IP_IS_V4(addresses[i]))
            words[2 * i] = ip_2_ip4(addresses[i])->addr;
        else
            memcpy(&words[2 * i], ip_2_ip6(addresses[i])->addr, 16);
    }
    words[4] = (uint64_t)local_port << 32 | remote_port;
    /* RFC 6528, section 3: a clock that ticks about every 4 microseconds, plus the hash. */
    return (uint32_t)(hal_clock_monotonic() >> 12) + (uint32_t)sip_hash(key, words, 5);
}
