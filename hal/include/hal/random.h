/*
 * Hardware randomness that needs no driver.
 */
#ifndef HAL_RANDOM_H
#define HAL_RANDOM_H

#include "hal/base.h"

/* Fills `buffer` from the CPU (RDSEED, else RDRAND). Returns the number of bytes filled: `size`, or 0 if it has none. */
size_t hal_random_hardware(void *buffer, size_t size);
/* A few bits that differ from start to start (counter values, wall clock); never enough alone. */
uint64_t hal_random_jitter(void);

#endif
