/*
 * A virtqueue, and the network driver on two of them, whose device writes anything anywhere it may. What must hold: each
 * chain comes back at most once, never more bytes than it has, no frame outside the buffers that the driver owns.
 */
#include "fuzz.h"
#include "hal/driver.h"
#include "hal/memory.h"
#include "hal/virtio.h"

#define QUEUE_SIZE 16
#define RAM ((size_t)8 << 20)

static struct hal_virtqueue_layout layouts[2];
static bool legacy_device;
static const uint8_t *input;
static size_t input_left;

static uint8_t next(void) {
    if (!input_left)
        return 0;
    input_left--;
    return *input++;
}

static uint64_t features(struct hal_virtio *device) {
    (void)device;
    return ~0ull;
}
static void set_features(struct hal_virtio *device, uint64_t value) {
    (void)device;
    (void)value;
}
static uint8_t status(struct hal_virtio *device) {
    (void)device;
    return 0xff;
}
static void set_status(struct hal_virtio *device, uint8_t value) {
    (void)device;
    (void)value;
}
static void config_read(struct hal_virtio *device, unsigned offset, void *to, unsigned size) {
    (void)device;
    (void)offset;
    for (unsigned i = 0; i < size; i++)
        ((uint8_t *)to)[i] = next();
}
static uint16_t queue_size(struct hal_virtio *device, unsigned index) {
    (void)device;
    return index < 2 ? QUEUE_SIZE : 0;
}
static int queue_start(struct hal_virtio *device, struct hal_virtqueue *queue) {
    (void)device;
    const struct hal_virtqueue_layout *layout = hal_virtqueue_layout(queue);
    layouts[layout->index & 1] = *layout;
    return 0;
}
static void notify(struct hal_virtio *device, struct hal_virtqueue *queue) {
    (void)device;
    (void)queue;
}
static const struct hal_virtio_transport transport = {features,   set_features, status,      set_status, config_read,
                                                      queue_size, queue_start,  notify};

/* The device's turn: some bytes of the ring that it may write, or of a buffer's begin. */
static void device_writes(unsigned which) {
    const struct hal_virtqueue_layout *layout = &layouts[which & 1];
    uint8_t *used = hal_phys_to_virt(layout->used);
    uint8_t kind = next();
    if (kind < 128) {
        /* A well-formed step with an id and a length of any value. */
        uint16_t index;
        memcpy(&index, used + 2, 2);
        uint32_t element[2] = {next() % (QUEUE_SIZE + 2), next() | (uint32_t)next() << 8};
        memcpy(used + 4 + 8 * (index % QUEUE_SIZE), element, 8);
        index++;
        memcpy(used + 2, &index, 2);
    } else if (kind < 192) {
        used[next() % (4 + 8 * QUEUE_SIZE + 2)] = next();
    } else {
        uint8_t *descriptors = hal_phys_to_virt(layout->descriptors);
        descriptors[next() % (16 * QUEUE_SIZE)] = next();
    }
}

static void bare_queue(void) {
    static struct hal_virtio device;
    static struct {
        bool held;
        uint32_t writable;
    } chains[64];
    device = (struct hal_virtio){.transport = &transport, .id = 99, .legacy = legacy_device};
    memset(chains, 0, sizeof chains);
    if (hal_virtio_negotiate(&device, HAL_VIRTIO_F_EVENT_IDX) != 0)
        return;
    struct hal_virtqueue *queue = hal_virtqueue_create(&device, 0, QUEUE_SIZE);
    uint8_t *buffer = hal_driver_alloc(HAL_PAGE_SIZE);
    if (!queue || !buffer)
        return;
    while (input_left) {
        struct hal_virtqueue_piece pieces[6];
        uint32_t written;
        unsigned operation = next() % 6, count = 1 + next() % 6, slot = 0;
        switch (operation) {
        case 0:
            while (slot < 64 && chains[slot].held)
                slot++;
            if (slot == 64)
                break;
            chains[slot].writable = 0;
            for (unsigned i = 0; i < count; i++) {
                pieces[i] = (struct hal_virtqueue_piece){buffer, 1u + next(), i >= count / 2};
                chains[slot].writable += pieces[i].device_writes ? pieces[i].length : 0;
            }
            chains[slot].held = hal_virtqueue_add(queue, pieces, count, &chains[slot]) == 0;
            break;
        case 1:
        case 2: {
            void *cookie = device.gone ? hal_virtqueue_detach(queue) : hal_virtqueue_get(queue, &written);
            if (!cookie)
                break;
            size_t index = (size_t)((char *)cookie - (char *)chains) / sizeof chains[0];
            if (index >= 64 || !chains[index].held || (!device.gone && written > chains[index].writable))
                abort();
            chains[index].held = false;
            break;
        }
        case 3:
            hal_virtqueue_kick(queue);
            break;
        case 4:
            hal_virtqueue_interrupts(queue, next() & 1);
            break;
        default:
            device_writes(0);
        }
        if (hal_virtqueue_free(queue) > QUEUE_SIZE)
            abort();
    }
}

static void received(void *context, struct hal_net_buffer *frame, enum hal_net_checksum checksum) {
    struct hal_net *net = context;
    (void)checksum;
    unsigned pieces = 0;
    for (struct hal_net_buffer *piece = frame; piece; piece = piece->next) {
        if (piece->length > 2048 || hal_virt_to_phys(piece->data) + piece->length > 0x100000 + RAM || ++pieces > QUEUE_SIZE)
            abort();
        volatile uint8_t sum = 0;
        for (uint32_t i = 0; i < piece->length; i++)
            sum = (uint8_t)(sum + piece->data[i]);
    }
    net->ops->recycle(net, frame);
}

static void sent(void *context, void *cookie) {
    (void)context;
    if (!cookie)
        abort();
}
static void nothing(void *context) {
    (void)context;
}
static void link_changed(void *context, bool up) {
    (void)context;
    (void)up;
}

static void network(void) {
    static struct hal_virtio device;
    device = (struct hal_virtio){.transport = &transport, .id = HAL_VIRTIO_NET, .legacy = legacy_device};
    hal_virtio_found(&device);
    struct hal_net *net = hal_net_first();
    while (net && net->next)
        net = net->next;
    if (!net)
        return;
    net->handler = (struct hal_net_handler){received, sent, nothing, nothing, link_changed, net};
    static uint8_t *frame;
    frame = hal_driver_alloc(HAL_PAGE_SIZE);
    while (input_left && frame) {
        struct hal_net_piece piece = {frame, 60u + next()};
        static const struct hal_net_offload none;
        switch (next() % 4) {
        case 0:
            net->ops->transmit(net, &piece, 1, &none, frame, next() & 1);
            break;
        case 1:
            if (net->ops->poll(net, 8) > 8)
                abort();
            break;
        case 2:
            net->ops->receive_interrupts(net, next() & 1);
            break;
        default:
            device_writes(next());
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    host_start(RAM);
    input = data;
    input_left = size;
    uint8_t choice = next();
    legacy_device = choice & 1;
    RUN({
        if (choice & 2)
            network();
        else
            bare_queue();
    });
    return 0;
}
