/* The entropy driver against a device in the same process: a read comes back, also where no byte does. */
#include <string.h>

#include "../nano/check.h"
#include "hal/driver.h"
#include "hal/memory.h"
#include "hal/virtio.h"
#include "host.h"
#include "ring.h"

static struct hal_virtqueue_layout *layout;
static uint16_t seen;
static uint32_t answers_with; /* bytes */
static unsigned notified;

static uint64_t features(struct hal_virtio *device) {
    (void)device;
    return HAL_VIRTIO_F_VERSION_1;
}
static void set_features(struct hal_virtio *device, uint64_t value) {
    (void)device;
    (void)value;
}
static uint8_t status(struct hal_virtio *device) {
    (void)device;
    return HAL_VIRTIO_FEATURES_OK;
}
static void set_status(struct hal_virtio *device, uint8_t value) {
    (void)device;
    (void)value;
}
static void config_read(struct hal_virtio *device, unsigned offset, void *to, unsigned size) {
    (void)device;
    (void)offset;
    memset(to, 0, size);
}
static uint16_t queue_size(struct hal_virtio *device, unsigned index) {
    (void)device;
    return index == 0 ? 8 : 0;
}
static int queue_start(struct hal_virtio *device, struct hal_virtqueue *queue) {
    (void)device;
    layout = hal_virtqueue_layout(queue);
    return 0;
}
static void notify(struct hal_virtio *device, struct hal_virtqueue *queue) {
    (void)device;
    (void)queue;
    CHECK(++notified < 1000);
    host_advance(1000000);
    uint16_t *available = hal_phys_to_virt(layout->available), *used = hal_phys_to_virt(layout->used);
    struct descriptor *descriptors = hal_phys_to_virt(layout->descriptors);
    while (seen != available[1]) {
        uint16_t head = available[2 + seen % layout->size];
        memset(hal_phys_to_virt(descriptors[head].address), 0xa5, answers_with);
        ((struct used_element *)(used + 2))[seen % layout->size] = (struct used_element){head, answers_with};
        used[1] = ++seen;
    }
}
static const struct hal_virtio_transport transport = {features,   set_features, status,      set_status, config_read,
                                                      queue_size, queue_start,  notify};
static struct hal_virtio device = {.transport = &transport, .id = HAL_VIRTIO_RNG};

static int64_t read_some(void) {
    uint8_t bytes[32];
    struct hal_entropy *entropy = hal_entropy_first();
    int64_t got = entropy->ops->read(entropy, bytes, sizeof bytes);
    for (int64_t i = 0; i < got; i++)
        EQUAL(bytes[i], 0xa5);
    return got;
}

int main(void) {
    host_start((size_t)16 << 20);
    answers_with = 5;
    hal_virtio_found(&device);
    CHECK(hal_entropy_first() && !device.gone);
    EQUAL(read_some(), 32); /* out of seven answers */
    answers_with = 0;
    EQUAL(read_some(), 0);
    CHECK(notified > 50); /* it was given its time */
    device.gone = true;
    CHECK(read_some() < 0);
    return 0;
}
