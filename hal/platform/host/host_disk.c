#include "host_disk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hal/driver.h"
#include "nano/list.h"
#include "nano/timer.h"

struct answer {
    struct timer timer;
    struct host_disk *disk;
    struct hal_blk_request *request;
    unsigned number;
};

static void finish(struct host_disk *disk, struct hal_blk_request *request, unsigned number) {
    size_t offset = request->sector * HAL_BLK_SECTOR, size = (size_t)request->count * HAL_BLK_SECTOR;
    bool fails = disk->fail_from && number >= disk->fail_from;
    if (!fails && request->kind == HAL_BLK_READ)
        memcpy(request->buffer, disk->bytes + offset, size);
    else if (!fails && request->kind == HAL_BLK_WRITE)
        memcpy(disk->bytes + offset, request->buffer, size);
    request->status = fails ? -HAL_EIO : 0;
    if (number <= HOST_DISK_RECORDS)
        disk->records[number - 1].status = request->status;
    request->done(request);
}

static void answer(struct timer *timer) {
    struct answer *due = CONTAINER(timer, struct answer, timer);
    struct answer copy = *due;
    free(due);
    finish(copy.disk, copy.request, copy.number);
}

static int submit(struct hal_blk *blk, struct hal_blk_request *request) {
    struct host_disk *disk = (struct host_disk *)blk;
    bool moves = request->kind != HAL_BLK_FLUSH;
    if (moves && (request->count == 0 || request->count > blk->max_sectors || request->sector > blk->capacity || request->count > blk->capacity - request->sector))
        return -HAL_EINVAL;
    unsigned number = ++disk->requests;
    if (number <= HOST_DISK_RECORDS) {
        disk->records[number - 1].sector = request->sector;
        disk->records[number - 1].count = request->count;
        disk->records[number - 1].kind = (int)request->kind;
        disk->records[number - 1].status = 1;
    }
    if (disk->silent_from && number >= disk->silent_from)
        return 0;
    if (disk->delay == 0) {
        finish(disk, request, number);
        return 0;
    }
    struct answer *later = calloc(1, sizeof *later);
    if (!later)
        abort();
    later->disk = disk;
    later->request = request;
    later->number = number;
    timer_init(&later->timer, answer);
    timer_arm(&later->timer, deadline_after(disk->delay));
    return 0;
}

static const struct hal_blk_ops ops = {submit, NULL};

void host_disk_create(struct host_disk *disk, const char *serial, const void *data, size_t size) {
    memset(disk, 0, sizeof *disk);
    disk->bytes = malloc(size ? size : 1);
    if (!disk->bytes)
        abort();
    if (size)
        memcpy(disk->bytes, data, size);
    disk->size = size;
    disk->blk.ops = &ops;
    disk->blk.capacity = size / HAL_BLK_SECTOR;
    disk->blk.max_sectors = 2048;
    snprintf(disk->blk.serial, sizeof disk->blk.serial, "%s", serial);
    hal_blk_register(&disk->blk);
}

void host_disk_free(struct host_disk *disk) {
    free(disk->bytes);
    disk->bytes = NULL;
}
