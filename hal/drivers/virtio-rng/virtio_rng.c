/*
 * The virtio entropy device: VIRTIO 1.1, section 5.4.
 */
#include "hal/clock.h"
#include "hal/driver.h"
#include "hal/string.h"
#include "hal/virtio.h"

#define WAIT_NS 100000000ull
#define BUFFER 64

static struct {
    struct hal_entropy entropy;
    struct hal_virtio *device;
    struct hal_virtqueue *queue;
    uint8_t *buffer; /* the device's while `pending` */
    bool pending;
} rng;

static int request(void) {
    struct hal_virtqueue_piece piece = {rng.buffer, BUFFER, true};
    if (hal_virtqueue_add(rng.queue, &piece, 1, &rng) != 0)
        return -HAL_ENODEV;
    rng.pending = true;
    hal_virtqueue_kick(rng.queue);
    return 0;
}

static int64_t rng_read(struct hal_entropy *entropy, void *to, size_t size) {
    (void)entropy;
    size_t done = 0;
    uint64_t deadline = hal_clock_monotonic() + WAIT_NS;
    while (done < size) {
        if (!rng.pending && request() != 0)
            return -HAL_ENODEV;
        uint32_t written;
        if (hal_virtqueue_get(rng.queue, &written)) {
            rng.pending = false;
            size_t now = written < size - done ? written : size - done;
            memcpy((uint8_t *)to + done, rng.buffer, now);
            memset(rng.buffer, 0, BUFFER);
            done += now;
        } else if (rng.device->gone) {
            return -HAL_ENODEV;
        }
        if (hal_clock_monotonic() > deadline)
            break;
        __builtin_ia32_pause();
    }
    return (int64_t)done;
}

static const struct hal_entropy_ops ops = {rng_read};

static int probe(struct hal_virtio *device) {
    if (rng.device)
        return -HAL_EBUSY;
    int status = hal_virtio_negotiate(device, 0);
    if (status != 0)
        return status;
    rng.buffer = hal_driver_alloc(BUFFER);
    rng.queue = rng.buffer ? hal_virtqueue_create(device, 0, 8) : NULL;
    if (!rng.queue)
        return -HAL_ENOMEM;
    hal_virtqueue_interrupts(rng.queue, false);
    rng.device = device;
    rng.entropy.ops = &ops;
    hal_virtio_ready(device);
    hal_entropy_register(&rng.entropy);
    return request(); /* the kernel's first seed: the host fetches it while the kernel goes on */
}

static const struct hal_virtio_driver driver = {"virtio-rng", HAL_VIRTIO_RNG, probe};
HAL_VIRTIO_DRIVER_TABLE(driver);
