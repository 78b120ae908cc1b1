/*
 * ChaCha20 (RFC 8439, section 2.3) with fast key erasure: each block's first half is the next key, so no output can be
 * computed from a later state.
 */
#include "nano/random.h"

#include "hal/driver.h"
#include "hal/random.h"
#include "hal/string.h"
#include "nano/errno.h"
#include "nano/file.h"
#include "nano/syscall.h"

#define GRND_NONBLOCK 1u
#define GRND_RANDOM 2u
#define GRND_INSECURE 4u

extern uintptr_t __stack_chk_guard;

static uint32_t key[8];
static bool seeded;

static uint32_t rotate(uint32_t x, unsigned n) {
    return x << n | x >> (32 - n);
}

static void quarter(uint32_t *s, unsigned a, unsigned b, unsigned c, unsigned d) {
    s[a] += s[b];
    s[d] = rotate(s[d] ^ s[a], 16);
    s[c] += s[d];
    s[b] = rotate(s[b] ^ s[c], 12);
    s[a] += s[b];
    s[d] = rotate(s[d] ^ s[a], 8);
    s[c] += s[d];
    s[b] = rotate(s[b] ^ s[c], 7);
}

static void chacha20(const uint32_t k[8], uint64_t counter, uint32_t out[16]) {
    const uint32_t start[16] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574, k[0], k[1], k[2], k[3],
                                k[4],       k[5],       k[6],       k[7],       (uint32_t)counter, (uint32_t)(counter >> 32), 0, 0};
    memcpy(out, start, sizeof start);
    for (unsigned round = 0; round < 10; round++) {
        for (unsigned i = 0; i < 4; i++)
            quarter(out, i, 4 + i, 8 + i, 12 + i);
        for (unsigned i = 0; i < 4; i++)
            quarter(out, i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4);
    }
    for (unsigned i = 0; i < 16; i++)
        out[i] += start[i];
}

void random_bytes(void *buffer, size_t size) {
    uint8_t *bytes = buffer;
    uint32_t block[16], use[8];
    chacha20(key, 0, block);
    memcpy(key, block, sizeof key);
    memcpy(use, block + 8, sizeof use);
    for (uint64_t counter = 1; size > 0; counter++) {
        chacha20(use, counter, block);
        size_t now = size < sizeof block ? size : sizeof block;
        memcpy(bytes, block, now);
        bytes += now;
        size -= now;
    }
}

uint64_t random_u64(void) {
    uint64_t value;
    random_bytes(&value, sizeof value);
    return value;
}

bool random_seeded(void) {
    return seeded;
}

/* Mixes a seed in: the new key is a block under the old key XOR the seed. */
void random_mix(const uint32_t seed[8]) {
    uint32_t block[16];
    for (unsigned i = 0; i < 8; i++)
        key[i] ^= seed[i];
    chacha20(key, UINT64_MAX, block);
    memcpy(key, block, sizeof key);
}

void random_init(void) {
    uint32_t seed[8] = {0};
    uint64_t jitter = hal_random_jitter();
    memcpy(seed, &jitter, sizeof jitter);
    random_mix(seed);
    if (hal_random_hardware(seed, sizeof seed) == sizeof seed) {
        random_mix(seed);
        seeded = true;
    }
    struct hal_entropy *device = hal_entropy_first();
    if (device && device->ops->read(device, seed, sizeof seed) == (int64_t)sizeof seed) {
        random_mix(seed);
        seeded = true;
    }
}

/* Apart from random_init(), and never part of another function: no frame may see its canary change. */
__attribute__((no_stack_protector, noinline)) void random_set_canary(void) {
    /* Its lowest byte stays zero: a string that overruns cannot write it. */
    __stack_chk_guard = random_u64() & ~(uintptr_t)0xff;
}

static int64_t fill_iter(struct iter *to) {
    uint8_t chunk[256];
    int64_t total = 0;
    while (to->left) {
        size_t now = to->left < sizeof chunk ? to->left : sizeof chunk;
        random_bytes(chunk, now);
        size_t done = iter_put(to, chunk, now);
        total += (int64_t)done;
        if (done < now)
            return total ? total : -EFAULT;
    }
    return total;
}

int64_t random_read(struct file *file, struct iter *to, uint64_t offset) {
    (void)file;
    (void)offset;
    return seeded ? fill_iter(to) : -EIO;
}

static int64_t sys_getrandom(const uint64_t *a) {
    if (a[2] & ~(uint64_t)(GRND_NONBLOCK | GRND_RANDOM | GRND_INSECURE) || (a[2] & 6) == 6)
        return -EINVAL;
    if (!seeded && !(a[2] & GRND_INSECURE))
        return a[2] & GRND_NONBLOCK ? -EAGAIN : -EIO;
    struct iter iter;
    struct segment segment;
    iter_init_user(&iter, &segment, a[0], a[1]);
    return fill_iter(&iter);
}
SYSCALL(318, getrandom, sys_getrandom, random);
