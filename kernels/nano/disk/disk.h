/*
 * Reading a block device, from threads.
 */
#ifndef NANO_DISK_H
#define NANO_DISK_H

#include "hal/blk.h"

struct disk {
    struct hal_blk *device;
    bool failed; /* it gave no answer in time: what it was given may still be written to, and it is asked nothing more */
};

/*
 * Reads `size` bytes from `offset`, both multiples of HAL_BLK_SECTOR, into memory of page_alloc(). Blocks. 0; -EIO: an
 * error, a range outside the device, or no answer within DISK_TIMEOUT. After the last `buffer` belongs to the device.
 */
int disk_read(struct disk *disk, uint64_t offset, void *buffer, size_t size);
uint64_t disk_size(const struct disk *disk); /* bytes */
#define DISK_TIMEOUT 30000000000u /* ns */

#endif
