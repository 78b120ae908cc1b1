/*
 * A block device. Sectors of 512 bytes, whatever the medium uses.
 */
#ifndef HAL_BLK_H
#define HAL_BLK_H

#include "hal/base.h"

#define HAL_BLK_SECTOR 512

struct hal_blk;

/*
 * One request. Owned by the caller, who must leave it and its buffers alone until `done` was called. `done` runs in
 * interrupt context and must not block.
 */
struct hal_blk_request {
    enum { HAL_BLK_READ, HAL_BLK_WRITE, HAL_BLK_FLUSH } kind;
    uint64_t sector;
    void *buffer;   /* RAM of hal_phys_to_virt(), physically contiguous; unused by FLUSH */
    uint32_t count; /* sectors */
    int status;     /* set before `done`: 0, -HAL_EIO, -HAL_ENODEV */
    void (*done)(struct hal_blk_request *request);
    void *context;                /* the caller's */
    struct hal_blk_request *next; /* the driver's, until done */
    uint32_t private_;            /* the driver's */
};

struct hal_blk_ops {
    /*
     * Starts a request; `done` may be called before it returns. 0, or an error without `done` being called: -HAL_EINVAL for a
     * range outside the device or a count of 0 or above max_sectors.
     */
    int (*submit)(struct hal_blk *device, struct hal_blk_request *request);
    /* Looks whether the device still answers; where it does not, it is gone and what it was given fails. NULL: nobody knows. */
    void (*check)(struct hal_blk *device);
};

/* Never freed once registered; a device that vanished fails all requests with -HAL_ENODEV. */
struct hal_blk {
    const struct hal_blk_ops *ops;
    uint64_t capacity; /* sectors */
    uint32_t max_sectors; /* of one request */
    bool read_only;
    bool gone; /* the device vanished */
    bool flushes; /* FLUSH does something; without it every completed write is durable */
    char serial[21]; /* NUL-terminated, may be empty */
    struct hal_blk *next;
};

#endif
