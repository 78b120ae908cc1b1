/* Virtqueues and the network driver against a device in the same process: an honest one, then every way of lying. */
#include <string.h>

#include "../nano/check.h"
#include "hal/driver.h"
#include "hal/memory.h"
#include "hal/net.h"
#include "hal/virtio.h"
#include "host.h"
#include "ring.h"

#define SIZE 64
#define F_MRG_RXBUF (1ull << 15)

/* The device's side of one queue. */
struct side {
    struct hal_virtqueue *queue;
    struct descriptor *descriptors;
    uint16_t *available, *used;
    uint16_t seen, given;
    unsigned notified;
};

static struct side sides[2];
static uint8_t status_register;
static uint64_t offered, accepted;

static uint64_t features(struct hal_virtio *device) {
    (void)device;
    return offered;
}
static void set_features(struct hal_virtio *device, uint64_t value) {
    (void)device;
    accepted = value;
}
static uint8_t status(struct hal_virtio *device) {
    (void)device;
    return status_register;
}
static void set_status(struct hal_virtio *device, uint8_t value) {
    (void)device;
    status_register = value;
}
static void config_read(struct hal_virtio *device, unsigned offset, void *to, unsigned size) {
    static const uint8_t config[12] = {0x52, 0x54, 0, 1, 2, 3, 1, 0, 0, 0, 0xdc, 5};
    (void)device;
    memset(to, 0, size);
    for (unsigned i = 0; i < size && offset + i < sizeof config; i++)
        ((uint8_t *)to)[i] = config[offset + i];
}
static uint16_t queue_size(struct hal_virtio *device, unsigned index) {
    (void)device;
    return index < 2 ? SIZE : 0;
}
static int queue_start(struct hal_virtio *device, struct hal_virtqueue *queue) {
    (void)device;
    struct hal_virtqueue_layout *layout = hal_virtqueue_layout(queue);
    sides[layout->index] = (struct side){.queue = queue,
                                         .descriptors = hal_phys_to_virt(layout->descriptors),
                                         .available = hal_phys_to_virt(layout->available),
                                         .used = hal_phys_to_virt(layout->used)};
    return 0;
}
static void notify(struct hal_virtio *device, struct hal_virtqueue *queue) {
    (void)device;
    sides[hal_virtqueue_layout(queue)->index].notified++;
}
static const struct hal_virtio_transport transport = {features,   set_features, status,      set_status, config_read,
                                                      queue_size, queue_start,  notify};
static struct hal_virtio device;

static void fresh(uint64_t offers) {
    offered = offers | HAL_VIRTIO_F_VERSION_1;
    device = (struct hal_virtio){.transport = &transport, .id = 99};
    host_clear_output();
    EQUAL(hal_virtio_negotiate(&device, HAL_VIRTIO_F_EVENT_IDX), 0);
}

static int take(struct side *side) {
    return side->seen == side->available[1] ? -1 : side->available[2 + side->seen++ % SIZE];
}
static void give(struct side *side, uint32_t id, uint32_t length) {
    ((struct used_element *)(side->used + 2))[side->given % SIZE] = (struct used_element){id, length};
    side->used[1] = ++side->given;
}

static void chains_come_back_with_their_cookies(void) {
    static uint8_t buffers[4][64];
    int cookies[4];
    fresh(0);
    struct hal_virtqueue *queue = hal_virtqueue_create(&device, 0, SIZE);
    CHECK(queue);
    struct side *side = &sides[0];
    for (unsigned round = 0; round < 70000; round++) { /* beyond the 16 bits of the indices */
        const struct hal_virtqueue_piece pieces[2] = {{buffers[0], 16, false}, {buffers[1], 48, true}};
        EQUAL(hal_virtqueue_add(queue, pieces, 2, &cookies[round % 4]), 0);
        hal_virtqueue_kick(queue);
        int head = take(side);
        CHECK(head >= 0 && side->descriptors[head].length == 16 && side->descriptors[head].flags == 1);
        CHECK(side->descriptors[side->descriptors[head].next].flags == 2);
        give(side, (uint32_t)head, 48);
        uint32_t written;
        CHECK(hal_virtqueue_get(queue, &written) == &cookies[round % 4]);
        EQUAL(written, 48);
        CHECK(!hal_virtqueue_get(queue, &written));
    }
    EQUAL(hal_virtqueue_free(queue), SIZE);
    EQUAL(side->notified, 70000);
    CHECK(!hal_virtqueue_create(&device, 7, SIZE));
}

static void a_full_queue_says_so(void) {
    uint8_t byte;
    const struct hal_virtqueue_piece pieces[2] = {{&byte, 1, false}, {&byte, 1, true}};
    fresh(0);
    struct hal_virtqueue *queue = hal_virtqueue_create(&device, 0, SIZE);
    for (unsigned i = 0; i < SIZE / 2; i++)
        EQUAL(hal_virtqueue_add(queue, pieces, 2, &byte), 0);
    EQUAL(hal_virtqueue_add(queue, pieces, 1, &byte), -HAL_ENOSPC);
    EQUAL(hal_virtqueue_add(queue, pieces, 0, &byte), -HAL_EINVAL);
}

/* A lie of the device: what it puts into the ring after two chains of 16 writable bytes were added. */
static void lie(uint16_t index, uint32_t id, uint32_t length, const char *words) {
    static uint8_t buffer[32];
    int cookies[2];
    uint32_t written;
    fresh(0);
    struct hal_virtqueue *queue = hal_virtqueue_create(&device, 0, SIZE);
    for (unsigned i = 0; i < 2; i++) {
        const struct hal_virtqueue_piece piece = {buffer + 16 * i, 16, true};
        EQUAL(hal_virtqueue_add(queue, &piece, 1, &cookies[i]), 0);
    }
    struct side *side = &sides[0];
    give(side, id, length);
    side->used[1] = index;
    CHECK(!hal_virtqueue_get(queue, &written));
    CHECK(device.gone);
    CHECK(strstr(host_console(), words));
    EQUAL(status_register, HAL_VIRTIO_FAILED);
    /* From now on nothing of it is believed, and the buffers come back. */
    give(side, 0, 16);
    CHECK(!hal_virtqueue_get(queue, &written));
    const struct hal_virtqueue_piece piece = {buffer, 16, true};
    EQUAL(hal_virtqueue_add(queue, &piece, 1, &cookies[0]), -HAL_ENODEV);
    unsigned back = 0;
    while (hal_virtqueue_detach(queue))
        back++;
    EQUAL(back, 2);
}

static void lies_end_the_device(void) {
    lie(1, 2, 16, "named a descriptor that it does not have (2)");
    lie(1, SIZE, 16, "named a descriptor that it does not have (64)");
    lie(1, UINT32_MAX, 16, "named a descriptor that it does not have");
    lie(1, 0, 17, "reported more bytes than it had room for (17)");
    lie(1, 0, UINT32_MAX, "reported more bytes than it had room for");
    lie(SIZE + 1, 0, 16, "went beyond what it was given (65)");
    lie(UINT16_MAX, 0, 16, "went beyond what it was given");
}

static void the_same_chain_is_not_given_twice(void) {
    static uint8_t buffer[16];
    uint32_t written;
    int cookie;
    fresh(0);
    struct hal_virtqueue *queue = hal_virtqueue_create(&device, 0, SIZE);
    const struct hal_virtqueue_piece piece = {buffer, 16, true};
    EQUAL(hal_virtqueue_add(queue, &piece, 1, &cookie), 0);
    give(&sides[0], 0, 1);
    give(&sides[0], 0, 1);
    CHECK(hal_virtqueue_get(queue, &written) == &cookie);
    CHECK(!hal_virtqueue_get(queue, &written));
    CHECK(device.gone);
}

static void a_descriptor_that_the_device_changed_moves_nothing(void) {
    static uint8_t buffer[16];
    int cookie;
    fresh(0);
    struct hal_virtqueue *queue = hal_virtqueue_create(&device, 0, SIZE);
    const struct hal_virtqueue_piece pieces[3] = {{buffer, 4, false}, {buffer, 4, true}, {buffer, 4, true}};
    EQUAL(hal_virtqueue_add(queue, pieces, 3, &cookie), 0);
    for (unsigned i = 0; i < SIZE; i++)
        sides[0].descriptors[i] = (struct descriptor){UINT64_MAX, UINT32_MAX, 0xffff, 0xffff};
    give(&sides[0], 0, 8);
    CHECK(hal_virtqueue_get(queue, NULL) == &cookie);
    EQUAL(hal_virtqueue_free(queue), SIZE);
    for (unsigned i = 0; i < SIZE / 2; i++)
        EQUAL(hal_virtqueue_add(queue, pieces, 2, &cookie), 0);
}

static void event_index_spares_notifications(void) {
    static uint8_t byte;
    int cookie;
    fresh(HAL_VIRTIO_F_EVENT_IDX);
    CHECK(accepted & HAL_VIRTIO_F_EVENT_IDX);
    struct hal_virtqueue *queue = hal_virtqueue_create(&device, 0, SIZE);
    const struct hal_virtqueue_piece piece = {&byte, 1, false};
    uint16_t *available_event = sides[0].used + 2 + SIZE * 4;
    for (unsigned i = 0; i < 4; i++) {
        *available_event = 2; /* tell me of the third */
        EQUAL(hal_virtqueue_add(queue, &piece, 1, &cookie), 0);
        hal_virtqueue_kick(queue);
        EQUAL(sides[0].notified, i >= 2);
    }
    EQUAL(hal_virtqueue_interrupts(queue, true), false);
    give(&sides[0], 0, 0);
    EQUAL(hal_virtqueue_interrupts(queue, true), true);
    CHECK(hal_virtqueue_get(queue, NULL) == &cookie);
    EQUAL(sides[0].available[2 + SIZE], 1);
}

/* The network driver, by its table: hal_virtio_found() finds it. */
static struct hal_net_buffer *arrived;
static enum hal_net_checksum arrived_checksum;
static unsigned sent_count, link_downs;
static void received(void *context, struct hal_net_buffer *frame, enum hal_net_checksum checksum) {
    (void)context;
    arrived = frame;
    arrived_checksum = checksum;
}
static void sent(void *context, void *cookie) {
    (void)context;
    (void)cookie;
    sent_count++;
}
static void room(void *context) {
    (void)context;
}
static void link(void *context, bool up) {
    (void)context;
    link_downs += !up;
}

static struct hal_net *network(uint64_t offers) {
    static struct hal_net *last;
    offered = offers | HAL_VIRTIO_F_VERSION_1 | 1 << 5;
    device = (struct hal_virtio){.transport = &transport, .id = HAL_VIRTIO_NET};
    host_clear_output();
    hal_virtio_found(&device);
    struct hal_net *net = last ? last->next : hal_net_first();
    CHECK(net);
    last = net;
    net->handler = (struct hal_net_handler){received, sent, room, NULL, link, NULL};
    arrived = NULL;
    return net;
}

/* Fills the next receive buffer as the device would. */
static void fill(uint16_t buffers, uint32_t length, bool first, uint8_t byte) {
    int head = take(&sides[0]);
    CHECK(head >= 0);
    uint8_t *data = hal_phys_to_virt(sides[0].descriptors[head].address);
    memset(data, byte, length < 2048 ? length : 2048);
    if (first && length >= 12) {
        memset(data, 0, 12);
        memcpy(data + 10, &buffers, 2);
    }
    give(&sides[0], (uint32_t)head, length);
}

static void frames_of_several_buffers_arrive_whole(void) {
    struct hal_net *net = network(F_MRG_RXBUF);
    fill(3, 2048, true, 1);
    fill(0, 2048, false, 2);
    fill(0, 100, false, 3);
    EQUAL(net->ops->poll(net, 8), 1);
    CHECK(arrived && arrived->length == 2036 && arrived->next->length == 2048 && arrived->next->next->length == 100);
    CHECK(!arrived->next->next->next && arrived->next->next->data[99] == 3);
    EQUAL(arrived_checksum, HAL_NET_CHECKSUM_NONE);
    net->ops->recycle(net, arrived);
    fill(1, 12 + 13, true, 1); /* shorter than an Ethernet header: dropped */
    arrived = NULL;
    net->ops->poll(net, 8);
    CHECK(!arrived && !net->gone);
    fill(1, 12 + 60, true, 1);
    EQUAL(net->ops->poll(net, 8), 1);
    CHECK(arrived && arrived->length == 60);
}

static void a_frame_with_missing_buffers_ends_the_device(void) {
    for (unsigned announced = 2; announced <= 0xffff; announced += 0x7ffd) {
        struct hal_net *net = network(F_MRG_RXBUF);
        unsigned downs = link_downs;
        fill((uint16_t)announced, 2048, true, 1);
        EQUAL(net->ops->poll(net, 8), 0);
        CHECK(net->gone && !arrived && link_downs == downs + 1);
        CHECK(strstr(host_console(), "announced a frame of"));
        const struct hal_net_offload none = {0};
        const struct hal_net_piece piece = {"x", 1};
        EQUAL(net->ops->transmit(net, &piece, 1, &none, net, false), -HAL_ENODEV);
    }
}

/* 64 KiB and more do not fit into the 16 bits that a frame's length has above. */
static void a_frame_of_64_kib_ends_the_device(void) {
    for (unsigned last = 11; last <= 12; last++) {
        struct hal_net *net = network(F_MRG_RXBUF);
        for (unsigned i = 0; i < 32; i++)
            fill(33, 2048, i == 0, 1);
        fill(0, last, false, 1); /* the first one has a header of 12 bytes */
        net->ops->poll(net, 8);
        EQUAL(net->gone, last == 12);
        EQUAL(arrived != NULL, last == 11);
    }
}

static void a_device_that_dies_gives_back_what_was_to_be_sent(void) {
    struct hal_net *net = network(0);
    const struct hal_net_offload none = {0};
    const struct hal_net_piece piece = {"frame", 5};
    sent_count = 0;
    for (unsigned i = 0; i < 3; i++)
        EQUAL(net->ops->transmit(net, &piece, 1, &none, net, true), 0);
    give(&sides[1], 15, 0);
    net->ops->poll(net, 8);
    EQUAL(sent_count, 3);
    CHECK(net->gone);
}

int main(void) {
    host_start((size_t)16 << 20);
    chains_come_back_with_their_cookies();
    a_full_queue_says_so();
    lies_end_the_device();
    the_same_chain_is_not_given_twice();
    a_descriptor_that_the_device_changed_moves_nothing();
    event_index_spares_notifications();
    frames_of_several_buffers_arrive_whole();
    a_frame_with_missing_buffers_ends_the_device();
    a_frame_of_64_kib_ends_the_device();
    a_device_that_dies_gives_back_what_was_to_be_sent();
    return 0;
}
