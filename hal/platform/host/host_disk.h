/*
 * A block device of the host platform: bytes in memory, what was asked of it, and faults on demand.
 */
#ifndef HOST_DISK_H
#define HOST_DISK_H

#include "hal/blk.h"

#define HOST_DISK_RECORDS 256

/* The caller's memory; stays until the next host_start(). The fields after `size` may be changed at any moment. */
struct host_disk {
    struct hal_blk blk;
    uint8_t *bytes; /* a copy, exactly as long as the disk, so that what lies beyond is seen */
    size_t size;
    unsigned fail_from;     /* this request (counted from 1) and all later ones end with -HAL_EIO; 0: none */
    unsigned silent_from;   /* this one and all later ones are never answered; 0: none */
    uint64_t delay;         /* virtual ns until an answer; 0: at once, inside `submit` */
    unsigned requests;      /* so far; the first HOST_DISK_RECORDS are below */
    struct {
        uint64_t sector;
        uint32_t count;
        int kind, status; /* status 1: no answer yet */
    } records[HOST_DISK_RECORDS];
};

/* Registers a disk that begins as `size` bytes of `data` (a multiple of HAL_BLK_SECTOR). After host_start(). */
void host_disk_create(struct host_disk *disk, const char *serial, const void *data, size_t size);
void host_disk_free(struct host_disk *disk);

#endif
