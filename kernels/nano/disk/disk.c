#include "disk.h"

#include "hal/driver.h"
#include "nano/errno.h"
#include "nano/heap.h"
#include "nano/print.h"
#include "nano/program.h"
#include "nano/thread.h"

#define WATCH_NS 1000000000u

struct transfer {
    struct hal_blk_request request;
    struct thread *thread;
    bool done;
};

static void transfer_done(struct hal_blk_request *request) {
    struct transfer *transfer = request->context;
    transfer->done = true;
    thread_wake(transfer->thread);
}

static void disk_lost(struct disk *disk) {
    disk->failed = true;
    program_device_lost("The disk '%s' is gone.", disk->device->serial);
}

static void look_after(struct work *work) {
    struct disk *disk = CONTAINER(work, struct disk, look);
    disk->device->ops->check(disk->device);
    if (disk->device->gone)
        disk_lost(disk);
    else
        timer_arm(&disk->watch, deadline_after(WATCH_NS));
}

static void watch_expired(struct timer *timer) {
    work_schedule(&CONTAINER(timer, struct disk, watch)->look);
}

void disk_open(struct disk *disk, struct hal_blk *device) {
    *disk = (struct disk){.device = device, .look = {.run = look_after}};
    timer_init(&disk->watch, watch_expired);
    if (device->ops->check)
        timer_arm(&disk->watch, deadline_after(WATCH_NS));
}

uint64_t disk_size(const struct disk *disk) {
    uint64_t sectors = disk->device->capacity;
    return sectors < INT64_MAX / HAL_BLK_SECTOR ? sectors * HAL_BLK_SECTOR : INT64_MAX & ~(uint64_t)(HAL_BLK_SECTOR - 1);
}

/* The transfer is in the heap, not on the stack: one that was never answered stays the device's for ever. */
static int read_once(struct disk *disk, uint64_t sector, void *buffer, uint32_t count) {
    struct transfer *transfer = kzalloc(sizeof *transfer);
    if (!transfer)
        return -ENOMEM;
    transfer->thread = current;
    transfer->request = (struct hal_blk_request){
        .kind = HAL_BLK_READ, .sector = sector, .buffer = buffer, .count = count, .done = transfer_done, .context = transfer};
    int status = disk->device->ops->submit(disk->device, &transfer->request);
    if (status == 0) {
        uint64_t deadline = deadline_after(DISK_TIMEOUT);
        while (!transfer->done && thread_block(deadline, false) != -ETIMEDOUT)
            ;
        if (!transfer->done) {
            disk->failed = true;
            program_device_lost("The disk '%s' has not answered for %d seconds.", disk->device->serial, (int)(DISK_TIMEOUT / 1000000000u));
            return -EIO;
        }
        status = transfer->request.status;
    }
    kfree(transfer);
    if (status == -ENODEV)
        disk_lost(disk);
    else if (status != 0)
        kprintf("nano: the disk '%s' could not read %u sectors from %lu on (error %d)\n", disk->device->serial, count, sector, -status);
    return status ? -EIO : 0;
}

int disk_read(struct disk *disk, uint64_t offset, void *buffer, size_t size) {
    if (disk->failed || offset % HAL_BLK_SECTOR || size % HAL_BLK_SECTOR || offset > disk_size(disk) || size > disk_size(disk) - offset)
        return -EIO;
    uint64_t sector = offset / HAL_BLK_SECTOR;
    for (size_t left = size / HAL_BLK_SECTOR; left > 0;) {
        uint32_t now = left < disk->device->max_sectors ? (uint32_t)left : disk->device->max_sectors;
        int status = read_once(disk, sector, buffer, now);
        if (status != 0)
            return status;
        sector += now;
        buffer = (char *)buffer + (size_t)now * HAL_BLK_SECTOR;
        left -= now;
    }
    return 0;
}
