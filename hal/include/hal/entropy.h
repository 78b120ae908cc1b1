/*
 * A source of entropy.
 */
#ifndef HAL_ENTROPY_H
#define HAL_ENTROPY_H

#include "hal/base.h"

struct hal_entropy;

struct hal_entropy_ops {
    /* Thread context. Fills `buffer`; waits at most about 100 ms. Returns the bytes filled (0 to size), or -HAL_ENODEV. */
    int64_t (*read)(struct hal_entropy *device, void *buffer, size_t size);
};

/* Owned by its driver, which keeps it for ever. */
struct hal_entropy {
    const struct hal_entropy_ops *ops;
    struct hal_entropy *next;
};

#endif
