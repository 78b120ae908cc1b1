/*
 * Virtio (OASIS VIRTIO 1.1): the transport (section 4) and virtqueues (2.6, split). A device driver sees only this; the
 * transport drivers virtio-mmio and virtio-pci implement struct hal_virtio_transport.
 */
#ifndef HAL_VIRTIO_H
#define HAL_VIRTIO_H

#include "hal/base.h"

#define HAL_VIRTIO_NET 1
#define HAL_VIRTIO_BLK 2
#define HAL_VIRTIO_CONSOLE 3
#define HAL_VIRTIO_RNG 4

#define HAL_VIRTIO_F_NOTIFY_ON_EMPTY (1ull << 24)
#define HAL_VIRTIO_F_INDIRECT (1ull << 28)
#define HAL_VIRTIO_F_EVENT_IDX (1ull << 29)
#define HAL_VIRTIO_F_VERSION_1 (1ull << 32)

enum {
    HAL_VIRTIO_ACKNOWLEDGE = 1,
    HAL_VIRTIO_DRIVER = 2,
    HAL_VIRTIO_DRIVER_OK = 4,
    HAL_VIRTIO_FEATURES_OK = 8,
    HAL_VIRTIO_NEEDS_RESET = 64,
    HAL_VIRTIO_FAILED = 128,
};

struct hal_virtio;
struct hal_virtqueue;

/*
 * What a bus does for its devices. None of these blocks; registers of a device that is no longer there read as all ones. A
 * queue's memory is the driver's and stays where it is; the device uses it from `queue_start` until it is reset.
 */
struct hal_virtio_transport {
    uint64_t (*features)(struct hal_virtio *device);
    void (*set_features)(struct hal_virtio *device, uint64_t features);
    uint8_t (*status)(struct hal_virtio *device);
    void (*set_status)(struct hal_virtio *device, uint8_t status); /* 0: reset, waits until the device has done it */
    void (*config_read)(struct hal_virtio *device, unsigned offset, void *to, unsigned size);
    uint16_t (*queue_size)(struct hal_virtio *device, unsigned index); /* the device's maximum; 0: no such queue */
    int (*queue_start)(struct hal_virtio *device, struct hal_virtqueue *queue); /* 0; -HAL_EINVAL, -HAL_ENOSPC: it cannot be used */
    void (*notify)(struct hal_virtio *device, struct hal_virtqueue *queue);
};

/* One virtio device on its bus. `interrupt` and `config_changed` are set by the device driver before DRIVER_OK. */
struct hal_virtio {
    const struct hal_virtio_transport *transport;
    uint32_t id;    /* HAL_VIRTIO_NET... */
    bool legacy;    /* before 1.0: native endian, ring by page number, no FEATURES_OK */
    bool legacy_resizable; /* of legacy transports only MMIO lets the driver choose a queue's size */
    bool gone;      /* unplugged or failed: its registers must not be believed */
    uint64_t negotiated;
    void (*interrupt)(void *context);
    void (*config_changed)(void *context);
    void *context;
};

/*
 * A driver for one kind of virtio device. `probe` takes ownership of the device if it returns 0. Drivers put one into
 * the section by HAL_VIRTIO_DRIVER_TABLE; the buses call hal_virtio_found() for each device.
 */
struct hal_virtio_driver {
    const char *name;
    uint32_t id;
    int (*probe)(struct hal_virtio *device);
};
#define HAL_VIRTIO_DRIVER_TABLE(driver) \
    static const struct hal_virtio_driver *const driver##_row __attribute__((used, section(".rodata.hal_virtio_drivers"))) = &(driver)

/* Resets the device, finds its driver and probes it; on failure the device is left in FAILED. */
void hal_virtio_found(struct hal_virtio *device);
/* Negotiates: `wanted` AND what the device has, plus VERSION_1. 0 or -HAL_ENODEV. */
int hal_virtio_negotiate(struct hal_virtio *device, uint64_t wanted);
void hal_virtio_ready(struct hal_virtio *device);
/* Whether a device that was made ready still is: one that was unplugged raises no interrupt, its status reads as all ones or zeros. */
bool hal_virtio_answers(struct hal_virtio *device);

/*
 * A split virtqueue whose device side is not trusted: every id and length it writes is checked, an invalid one marks the
 * device as failed (`device->gone`) and stops the queue. Buffers are owned by the device between `add` and `get`.
 */
struct hal_virtqueue_piece {
    const void *data;
    uint32_t length;
    bool device_writes; /* pieces the device reads must stand first */
};

/*
 * A queue of at most `max_size` entries (a power of two; a legacy PCI device's own size, whatever that is). NULL: no such
 * queue, or no memory.
 */
struct hal_virtqueue *hal_virtqueue_create(struct hal_virtio *device, unsigned index, unsigned max_size);
/* Adds a chain. `cookie` must not be NULL. 0; -HAL_ENOSPC: full; -HAL_ENODEV: the device is gone. */
int hal_virtqueue_add(struct hal_virtqueue *queue, const struct hal_virtqueue_piece *pieces, unsigned count, void *cookie);
/* Tells the device of what was added since, if it wants to know. */
void hal_virtqueue_kick(struct hal_virtqueue *queue);
/* The next chain that the device has used: its cookie, and the bytes it wrote (never more than the chain's). NULL: none. */
void *hal_virtqueue_get(struct hal_virtqueue *queue, uint32_t *written);
/* Takes back any chain after the device is gone: each call returns one cookie, NULL when there are no more. */
void *hal_virtqueue_detach(struct hal_virtqueue *queue);
/* Interrupts on or off. Turning them on returns true if something was used meanwhile. */
bool hal_virtqueue_interrupts(struct hal_virtqueue *queue, bool enable);
unsigned hal_virtqueue_size(const struct hal_virtqueue *queue);
unsigned hal_virtqueue_free(const struct hal_virtqueue *queue); /* descriptors */

/* For the transports. */
struct hal_virtqueue_layout {
    unsigned index;
    uint16_t size;
    hal_phys_t descriptors, available, used;
    uint32_t notify_offset; /* the transport's */
};
struct hal_virtqueue_layout *hal_virtqueue_layout(struct hal_virtqueue *queue);

#endif
