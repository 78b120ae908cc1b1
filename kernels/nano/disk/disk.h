/*
 * Reading a block device, from threads.
 */
#ifndef NANO_DISK_H
#define NANO_DISK_H

#include "hal/blk.h"
#include "nano/timer.h"
#include "nano/work.h"

struct disk {
    struct hal_blk *device;
    bool failed; /* it is gone, or gave no answer in time: what it was given may still be written to, and it is asked nothing more */
    struct timer watch;
    struct work look;
};

/* Begins to use `device`. One that goes without a word is missed within a second. `disk` stays where it is. */
void disk_open(struct disk *disk, struct hal_blk *device);

/*
 * Reads `size` bytes from `offset`, both multiples of HAL_BLK_SECTOR, into memory of page_alloc(). Blocks. 0; -EIO: an
 * error, a range outside the device, or no answer within DISK_TIMEOUT. After the last `buffer` belongs to the device.
 */
int disk_read(struct disk *disk, uint64_t offset, void *buffer, size_t size);
uint64_t disk_size(const struct disk *disk); /* bytes */
#define DISK_TIMEOUT 30000000000u /* ns */

#endif
