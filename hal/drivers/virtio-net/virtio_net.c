/*
 * The virtio network device: VIRTIO 1.1, section 5.1, with mergeable receive buffers, checksum and segmentation offload.
 */
#include "hal/driver.h"
#include "hal/memory.h"
#include "hal/random.h"
#include "hal/string.h"
#include "hal/virtio.h"

#define F_CSUM (1ull << 0)
#define F_GUEST_CSUM (1ull << 1)
#define F_MTU (1ull << 3)
#define F_MAC (1ull << 5)
#define F_GUEST_TSO4 (1ull << 7)
#define F_GUEST_TSO6 (1ull << 8)
#define F_HOST_TSO4 (1ull << 11)
#define F_HOST_TSO6 (1ull << 12)
#define F_MRG_RXBUF (1ull << 15)
#define F_STATUS (1ull << 16)
#define CONFIG_MAC 0
#define CONFIG_STATUS 6
#define CONFIG_MTU 10
#define STATUS_LINK_UP 1

#define HDR_NEEDS_CSUM 1
#define HDR_DATA_VALID 2
#define GSO_TCPV4 1
#define GSO_TCPV6 4
#define ETHERNET_HEADER 14
#define DEFAULT_MTU 1500
#define MIN_MTU 576
#define MAX_FRAME 65535

#define BUFFER_SIZE 2048 /* two a page; holds a whole frame of an MTU of 1500 and its header */
#define MAX_BUFFERS 256
#define MIN_BUFFERS 16
#define MEMORY_SHARE 64 /* a 64th of the memory may be receive buffers */
#define TRANSMIT_RING 256

/* struct virtio_net_hdr; `buffers` is only there with mergeable buffers or from version 1 on. */
struct header {
    uint8_t flags, gso_type;
    uint16_t header_length, gso_size, checksum_start, checksum_offset;
    uint16_t buffers;
};

struct slot {
    struct header header;
    void *cookie;
    struct slot *next;
};

struct net {
    struct hal_net net;
    struct hal_virtio *device;
    struct hal_virtqueue *receive, *transmit;
    struct hal_net_buffer *buffers;
    uint8_t **memory; /* of each buffer */
    struct slot *free;
    uint32_t header_size;
    bool mergeable;
    bool starved; /* the stack was told -HAL_ENOSPC and waits for `room` */
};

static void lost(struct net *net) {
    if (net->net.gone)
        return;
    net->net.gone = true;
    net->net.link_up = false;
    hal_driver_log("virtio-net", "The network device is gone; the network is down from now on.");
    if (net->net.handler.link)
        net->net.handler.link(net->net.handler.context, false);
}

static void offer(struct net *net, struct hal_net_buffer *buffer) {
    buffer->data = net->memory[buffer->private_];
    buffer->next = NULL;
    const struct hal_virtqueue_piece piece = {buffer->data, BUFFER_SIZE, true};
    hal_virtqueue_add(net->receive, &piece, 1, buffer);
}

static void recycle(struct hal_net *device, struct hal_net_buffer *frame) {
    struct net *net = (struct net *)device;
    while (frame) {
        struct hal_net_buffer *next = frame->next;
        offer(net, frame);
        frame = next;
    }
    hal_virtqueue_kick(net->receive);
}

/* Takes the pieces of one frame from the ring. NULL: none, or the device lied and is gone. */
static struct hal_net_buffer *take_frame(struct net *net, struct header *header) {
    uint32_t written, total;
    struct hal_net_buffer *first = hal_virtqueue_get(net->receive, &written);
    if (!first)
        return NULL;
    if (written < net->header_size + ETHERNET_HEADER) {
        /* A frame too short to be one: dropped. */
        offer(net, first);
        *header = (struct header){.buffers = 0};
        return NULL;
    }
    memset(header, 0, sizeof *header);
    memcpy(header, first->data, net->header_size);
    first->data += net->header_size;
    first->length = written - net->header_size;
    first->next = NULL;
    total = first->length;
    unsigned pieces = net->mergeable ? header->buffers : 1;
    struct hal_net_buffer *last = first;
    for (unsigned i = 1; i < pieces; i++) {
        /* All pieces of a frame become visible together (5.1.6.4): one that is missing is the device's fault. */
        struct hal_net_buffer *piece = hal_virtqueue_get(net->receive, &written);
        if (!piece || total + written > MAX_FRAME) {
            hal_driver_log("virtio-net", "The device announced a frame of %u buffers that it did not fill.", pieces);
            net->device->gone = true;
            return NULL;
        }
        piece->length = written;
        piece->next = NULL;
        last->next = piece;
        last = piece;
        total += written;
    }
    if (header->buffers == 0)
        header->buffers = 1;
    return first;
}

static void collect_sent(struct net *net) {
    struct slot *slot;
    bool any = false;
    while ((slot = hal_virtqueue_get(net->transmit, NULL))) {
        void *cookie = slot->cookie;
        slot->next = net->free;
        net->free = slot;
        net->net.handler.sent(net->net.handler.context, cookie);
        any = true;
    }
    if (net->device->gone)
        while ((slot = hal_virtqueue_detach(net->transmit)))
            net->net.handler.sent(net->net.handler.context, slot->cookie);
    if (any && net->starved && hal_virtqueue_free(net->transmit) > hal_virtqueue_size(net->transmit) / 2) {
        net->starved = false;
        hal_virtqueue_interrupts(net->transmit, false);
        net->net.handler.room(net->net.handler.context);
    }
}

static unsigned poll(struct hal_net *device, unsigned budget) {
    struct net *net = (struct net *)device;
    if (device->gone)
        return 0;
    collect_sent(net);
    unsigned done = 0;
    while (done < budget) {
        struct header header = {.buffers = 1};
        struct hal_net_buffer *frame = take_frame(net, &header);
        if (!frame && (header.buffers == 1 || net->device->gone))
            break;
        done++;
        if (frame)
            device->handler.received(device->handler.context, frame,
                                     header.flags & HDR_NEEDS_CSUM   ? HAL_NET_CHECKSUM_PARTIAL
                                     : header.flags & HDR_DATA_VALID ? HAL_NET_CHECKSUM_VALID
                                                                     : HAL_NET_CHECKSUM_NONE);
    }
    hal_virtqueue_kick(net->receive);
    if (net->device->gone) {
        collect_sent(net);
        lost(net);
    }
    return done;
}

static int transmit(struct hal_net *device, const struct hal_net_piece *pieces, unsigned count, const struct hal_net_offload *offload,
                    void *cookie, bool more) {
    struct net *net = (struct net *)device;
    if (device->gone)
        return -HAL_ENODEV;
    if (count == 0 || count > HAL_NET_MAX_PIECES)
        return -HAL_EINVAL;
    if (!net->free || hal_virtqueue_free(net->transmit) < count + 1)
        collect_sent(net);
    struct slot *slot = net->free;
    if (!slot || hal_virtqueue_free(net->transmit) < count + 1) {
        hal_virtqueue_kick(net->transmit);
        net->starved = true;
        if (hal_virtqueue_interrupts(net->transmit, true) && device->handler.interrupt)
            device->handler.interrupt(device->handler.context);
        return net->device->gone ? -HAL_ENODEV : -HAL_ENOSPC;
    }
    slot->header = (struct header){.buffers = 0};
    if (offload->checksum_start) {
        slot->header.flags = HDR_NEEDS_CSUM;
        slot->header.checksum_start = offload->checksum_start;
        slot->header.checksum_offset = offload->checksum_offset;
    }
    if (offload->segment_size) {
        slot->header.gso_type = offload->ipv6 ? GSO_TCPV6 : GSO_TCPV4;
        slot->header.gso_size = offload->segment_size;
        slot->header.header_length = offload->header_length;
    }
    slot->cookie = cookie;
    HAL_UNINITIALIZED struct hal_virtqueue_piece all[1 + HAL_NET_MAX_PIECES];
    all[0] = (struct hal_virtqueue_piece){&slot->header, net->header_size, false};
    for (unsigned i = 0; i < count; i++)
        all[1 + i] = (struct hal_virtqueue_piece){pieces[i].data, pieces[i].length, false};
    int status = hal_virtqueue_add(net->transmit, all, count + 1, slot);
    if (status != 0)
        return status;
    net->free = slot->next;
    if (!more)
        hal_virtqueue_kick(net->transmit);
    return 0;
}

static void flush(struct hal_net *device) {
    hal_virtqueue_kick(((struct net *)device)->transmit);
}

static bool receive_interrupts(struct hal_net *device, bool enable) {
    return hal_virtqueue_interrupts(((struct net *)device)->receive, enable);
}

static void check(struct hal_net *device) {
    struct net *net = (struct net *)device;
    if (device->gone || hal_virtio_answers(net->device))
        return;
    net->device->gone = true;
    collect_sent(net);
    lost(net);
}

static const struct hal_net_ops ops = {transmit, flush, recycle, poll, receive_interrupts, check};

static void interrupt(void *context) {
    struct net *net = context;
    if (net->net.handler.interrupt)
        net->net.handler.interrupt(net->net.handler.context);
}

static void config_changed(void *context) {
    struct net *net = context;
    uint16_t status = STATUS_LINK_UP;
    if (net->device->transport->status(net->device) & HAL_VIRTIO_NEEDS_RESET) {
        net->device->gone = true;
        lost(net);
        return;
    }
    if (net->device->negotiated & F_STATUS)
        net->device->transport->config_read(net->device, CONFIG_STATUS, &status, 2);
    bool up = status & STATUS_LINK_UP;
    if (up != net->net.link_up) {
        net->net.link_up = up;
        if (net->net.handler.link)
            net->net.handler.link(net->net.handler.context, up);
    }
}

static unsigned buffer_count(void) {
    size_t regions;
    uint64_t bytes = 0;
    const struct hal_region *region = hal_memory_regions(&regions);
    for (size_t i = 0; i < regions; i++)
        bytes += region[i].size;
    unsigned count = MIN_BUFFERS;
    while (count < MAX_BUFFERS && (uint64_t)count * 2 * BUFFER_SIZE * MEMORY_SHARE <= bytes)
        count *= 2;
    return count;
}

static int fill(struct net *net) {
    unsigned count = hal_virtqueue_size(net->receive), wanted = buffer_count();
    if (count > wanted)
        count = wanted;
    net->buffers = hal_driver_alloc(count * sizeof *net->buffers);
    net->memory = hal_driver_alloc(count * sizeof *net->memory);
    if (!net->buffers || !net->memory)
        return -HAL_ENOMEM;
    uint8_t *page = NULL;
    for (unsigned i = 0; i < count; i++) {
        if (i % 2 == 0 && !(page = hal_driver_buffer(HAL_PAGE_SIZE)))
            return i ? 0 : -HAL_ENOMEM;
        net->memory[i] = page + i % 2 * BUFFER_SIZE;
        net->buffers[i].private_ = i;
        offer(net, &net->buffers[i]);
    }
    net->net.receive_buffers = (uint16_t)count;
    return 0;
}

static void identify(struct net *net) {
    struct hal_virtio *device = net->device;
    struct hal_net *out = &net->net;
    out->mtu = DEFAULT_MTU;
    if (device->negotiated & F_MTU) {
        uint16_t mtu;
        device->transport->config_read(device, CONFIG_MTU, &mtu, 2);
        if (mtu >= MIN_MTU && (net->mergeable || mtu <= DEFAULT_MTU))
            out->mtu = mtu;
    }
    if (device->negotiated & F_MAC) {
        device->transport->config_read(device, CONFIG_MAC, out->mac, 6);
    } else {
        uint64_t bits = hal_random_jitter();
        memcpy(out->mac, &bits, 6);
        out->mac[0] = (uint8_t)((out->mac[0] & 0xfc) | 2); /* local, unicast */
    }
    out->link_up = true;
    if (device->negotiated & F_STATUS) {
        uint16_t status;
        device->transport->config_read(device, CONFIG_STATUS, &status, 2);
        out->link_up = status & STATUS_LINK_UP;
    }
    out->checksum_offload = device->negotiated & F_CSUM;
    out->segmentation4 = device->negotiated & F_HOST_TSO4 && out->checksum_offload;
    out->segmentation6 = device->negotiated & F_HOST_TSO6 && out->checksum_offload;
}

static int probe(struct hal_virtio *device) {
    uint64_t wanted = F_CSUM | F_GUEST_CSUM | F_MTU | F_MAC | F_HOST_TSO4 | F_HOST_TSO6 | F_MRG_RXBUF | F_STATUS | HAL_VIRTIO_F_EVENT_IDX;
    /* Segments larger than a buffer can only come where frames may span several. */
    uint64_t offered = device->transport->features(device);
    if (offered & F_MRG_RXBUF && offered & F_GUEST_CSUM)
        wanted |= F_GUEST_TSO4 | F_GUEST_TSO6;
    int status = hal_virtio_negotiate(device, wanted);
    if (status != 0)
        return status;
    struct net *net = hal_driver_alloc(sizeof *net);
    if (!net)
        return -HAL_ENOMEM;
    net->device = device;
    net->mergeable = device->negotiated & F_MRG_RXBUF;
    net->header_size = net->mergeable || !device->legacy ? sizeof(struct header) : sizeof(struct header) - 2;
    net->receive = hal_virtqueue_create(device, 0, MAX_BUFFERS);
    net->transmit = hal_virtqueue_create(device, 1, TRANSMIT_RING);
    if (!net->receive || !net->transmit)
        return -HAL_ENOMEM;
    hal_virtqueue_interrupts(net->receive, false);
    hal_virtqueue_interrupts(net->transmit, false);
    unsigned slots = hal_virtqueue_size(net->transmit) / 2;
    if (slots > TRANSMIT_RING / 2)
        slots = TRANSMIT_RING / 2;
    struct slot *table = hal_driver_alloc(slots * sizeof *table);
    if (!table)
        return -HAL_ENOMEM;
    for (unsigned i = 0; i < slots; i++) {
        table[i].next = net->free;
        net->free = &table[i];
    }
    identify(net);
    net->net.ops = &ops;
    if ((status = fill(net)) != 0)
        return status;
    device->context = net;
    device->interrupt = interrupt;
    device->config_changed = config_changed;
    hal_virtio_ready(device);
    hal_virtqueue_kick(net->receive);
    hal_net_register(&net->net);
    return 0;
}

static const struct hal_virtio_driver driver = {"virtio-net", HAL_VIRTIO_NET, probe};
HAL_VIRTIO_DRIVER_TABLE(driver);
