/*
 * The virtio block device: VIRTIO 1.1, section 5.2.
 */
#include "hal/clock.h"
#include "hal/driver.h"
#include "hal/string.h"
#include "hal/virtio.h"

#define F_SIZE_MAX (1ull << 1)
#define F_RO (1ull << 5)
#define F_FLUSH (1ull << 9)
#define F_CONFIG_WCE (1ull << 11)
#define CONFIG_CAPACITY 0
#define CONFIG_SIZE_MAX 8
#define T_IN 0
#define T_OUT 1
#define T_FLUSH 4
#define T_GET_ID 8
#define STATUS_OK 0
#define STATUS_UNSET 0xff
#define ID_BYTES 20
#define ID_WAIT_NS 2000000000ull
#define QUEUE_SIZE 64
#define MAX_SECTORS 2048 /* 1 MiB */

/* What the device reads and writes beside the data; never in the caller's request, which it might put on a stack. */
struct slot {
    uint32_t type, reserved;
    uint64_t sector;
    uint8_t status;
    struct hal_blk_request *request;
    struct slot *next;
};

struct blk {
    struct hal_blk blk;
    struct hal_virtio *device;
    struct hal_virtqueue *queue;
    struct slot *free;
    struct hal_blk_request *waiting, **waiting_end; /* for a slot */
};

static void finish(struct hal_blk_request *request, int status) {
    request->status = status;
    request->done(request);
}

/* -HAL_ENOSPC: no room now. */
static int start_request(struct blk *blk, struct hal_blk_request *request) {
    struct slot *slot = blk->free;
    if (!slot)
        return -HAL_ENOSPC;
    slot->type = request->kind == HAL_BLK_READ ? T_IN : request->kind == HAL_BLK_WRITE ? T_OUT : T_FLUSH;
    slot->sector = request->kind == HAL_BLK_FLUSH ? 0 : request->sector;
    slot->status = STATUS_UNSET;
    slot->request = request;
    struct hal_virtqueue_piece pieces[3] = {{slot, 16, false}};
    unsigned count = 1;
    if (request->kind != HAL_BLK_FLUSH)
        pieces[count++] = (struct hal_virtqueue_piece){request->buffer, request->count * HAL_BLK_SECTOR, request->kind == HAL_BLK_READ};
    pieces[count++] = (struct hal_virtqueue_piece){&slot->status, 1, true};
    int status = hal_virtqueue_add(blk->queue, pieces, count, slot);
    if (status == 0)
        blk->free = slot->next;
    return status;
}

static int submit(struct hal_blk *device, struct hal_blk_request *request) {
    struct blk *blk = (struct blk *)device;
    if (blk->device->gone)
        return -HAL_ENODEV;
    if (request->kind != HAL_BLK_FLUSH && (request->count == 0 || request->count > device->max_sectors || request->sector > device->capacity ||
                                           request->count > device->capacity - request->sector))
        return -HAL_EINVAL;
    if (request->kind == HAL_BLK_WRITE && device->read_only)
        return -HAL_EINVAL;
    int status = blk->waiting ? -HAL_ENOSPC : start_request(blk, request);
    if (status == -HAL_ENOSPC) {
        request->next = NULL;
        *blk->waiting_end = request;
        blk->waiting_end = &request->next;
        return 0;
    }
    if (status == 0)
        hal_virtqueue_kick(blk->queue);
    return status;
}

static void lost(struct blk *blk) {
    blk->blk.gone = blk->device->gone = true;
    struct slot *slot;
    while ((slot = hal_virtqueue_detach(blk->queue)))
        finish(slot->request, -HAL_ENODEV);
    while (blk->waiting) {
        struct hal_blk_request *request = blk->waiting;
        blk->waiting = request->next;
        if (!blk->waiting)
            blk->waiting_end = &blk->waiting;
        finish(request, -HAL_ENODEV);
    }
}

static void interrupt(void *context) {
    struct blk *blk = context;
    struct slot *slot;
    while ((slot = hal_virtqueue_get(blk->queue, NULL))) {
        struct hal_blk_request *request = slot->request;
        int status = slot->status == STATUS_OK ? 0 : -HAL_EIO;
        slot->next = blk->free;
        blk->free = slot;
        finish(request, status);
    }
    while (blk->waiting && !blk->device->gone) {
        struct hal_blk_request *request = blk->waiting;
        if (start_request(blk, request) != 0)
            break;
        blk->waiting = request->next;
        if (!blk->waiting)
            blk->waiting_end = &blk->waiting;
    }
    hal_virtqueue_kick(blk->queue);
    if (blk->device->gone)
        lost(blk);
}

static void config_changed(void *context) {
    struct blk *blk = context;
    if (blk->device->transport->status(blk->device) & HAL_VIRTIO_NEEDS_RESET)
        lost(blk);
}

static void check(struct hal_blk *device) {
    struct blk *blk = (struct blk *)device;
    if (!device->gone && !hal_virtio_answers(blk->device))
        lost(blk);
}

static const struct hal_blk_ops ops = {submit, check};

static void id_done(struct hal_blk_request *request) {
    request->context = NULL;
}

/* Asks for the serial number; the device answers at once or within a bounded time, else it has none. */
static void read_serial(struct blk *blk) {
    uint8_t *id = hal_driver_alloc(ID_BYTES);
    struct slot *slot = blk->free;
    if (!id || !slot)
        return;
    static struct hal_blk_request request;
    request = (struct hal_blk_request){.done = id_done, .context = blk};
    *slot = (struct slot){.type = T_GET_ID, .status = STATUS_UNSET, .request = &request, .next = slot->next};
    const struct hal_virtqueue_piece pieces[3] = {{slot, 16, false}, {id, ID_BYTES, true}, {&slot->status, 1, true}};
    if (hal_virtqueue_add(blk->queue, pieces, 3, slot) != 0)
        return;
    blk->free = slot->next;
    hal_virtqueue_kick(blk->queue);
    uint64_t deadline = hal_clock_monotonic() + ID_WAIT_NS;
    while (request.context && !blk->device->gone && hal_clock_monotonic() < deadline) {
        interrupt(blk);
        __builtin_ia32_pause();
    }
    if (!request.context && request.status == 0)
        memcpy(blk->blk.serial, id, ID_BYTES);
}

static int probe(struct hal_virtio *device) {
    int status = hal_virtio_negotiate(device, F_SIZE_MAX | F_RO | F_FLUSH | F_CONFIG_WCE | HAL_VIRTIO_F_EVENT_IDX);
    if (status != 0)
        return status;
    struct blk *blk = hal_driver_alloc(sizeof *blk);
    struct hal_virtqueue *queue = blk ? hal_virtqueue_create(device, 0, QUEUE_SIZE) : NULL;
    unsigned slots = queue ? hal_virtqueue_size(queue) / 3 : 0;
    if (queue && slots == 0)
        return -HAL_EINVAL;
    struct slot *table = queue ? hal_driver_alloc(slots * sizeof *table) : NULL;
    if (!table)
        return -HAL_ENOMEM;
    for (unsigned i = 0; i < slots; i++) {
        table[i].next = blk->free;
        blk->free = &table[i];
    }
    blk->device = device;
    blk->queue = queue;
    blk->waiting_end = &blk->waiting;
    blk->blk.ops = &ops;
    device->transport->config_read(device, CONFIG_CAPACITY, &blk->blk.capacity, 8);
    blk->blk.max_sectors = MAX_SECTORS;
    if (device->negotiated & F_SIZE_MAX) {
        uint32_t size_max;
        device->transport->config_read(device, CONFIG_SIZE_MAX, &size_max, 4);
        if (size_max / HAL_BLK_SECTOR < MAX_SECTORS)
            blk->blk.max_sectors = size_max / HAL_BLK_SECTOR;
        if (blk->blk.max_sectors == 0)
            return -HAL_EINVAL;
    }
    blk->blk.read_only = device->negotiated & F_RO;
    blk->blk.flushes = device->negotiated & F_FLUSH;
    device->context = blk;
    device->interrupt = interrupt;
    device->config_changed = config_changed;
    hal_virtio_ready(device);
    read_serial(blk);
    hal_blk_register(&blk->blk);
    return 0;
}

static const struct hal_virtio_driver driver = {"virtio-blk", HAL_VIRTIO_BLK, probe};
HAL_VIRTIO_DRIVER_TABLE(driver);
