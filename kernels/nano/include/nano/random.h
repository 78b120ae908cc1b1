/*
 * Random bytes: ChaCha20 keyed from the entropy device or the CPU, with fast key erasure.
 */
#ifndef NANO_RANDOM_H
#define NANO_RANDOM_H

#include "hal/base.h"

void random_init(void); /* after the drivers */
bool random_seeded(void);
void random_bytes(void *buffer, size_t size);
uint64_t random_u64(void);
void random_mix(const uint32_t seed[8]); /* with no thread in random_bytes(): interrupts closed */
void random_set_canary(void); /* the caller must not have a canary of its own */

/* The read of /dev/random and /dev/urandom. */
struct file;
struct iter;
int64_t random_read(struct file *file, struct iter *to, uint64_t offset);

#endif
