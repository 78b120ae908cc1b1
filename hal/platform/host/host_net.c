#define _GNU_SOURCE /* ppoll */

#include "host_net.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "hal/clock.h"
#include "hal/driver.h"

#define NS_PER_S 1000000000ull

static struct host_net *devices;

static struct host_net *of(struct hal_net *net) {
    return (struct host_net *)net; /* its first field */
}

static void put32(FILE *file, uint32_t value) {
    fwrite(&value, 4, 1, file);
}

/* A record of the capture: pcap's packet header and the frame. */
static void capture(struct host_net *net, const uint8_t *frame, size_t size) {
    if (!net->capture)
        return;
    uint64_t now = hal_clock_monotonic();
    put32(net->capture, (uint32_t)(now / NS_PER_S));
    put32(net->capture, (uint32_t)(now % NS_PER_S));
    put32(net->capture, (uint32_t)size);
    put32(net->capture, (uint32_t)size);
    fwrite(frame, 1, size, net->capture);
    fflush(net->capture);
}

bool host_net_capture(struct host_net *net, const char *path) {
    net->capture = fopen(path, "wb");
    if (!net->capture)
        return false;
    put32(net->capture, 0xa1b23c4d);
    put32(net->capture, 2 | 4 << 16);
    put32(net->capture, 0);
    put32(net->capture, 0);
    put32(net->capture, HOST_NET_FRAME);
    put32(net->capture, 1);
    return fflush(net->capture) == 0;
}

static int transmit(struct hal_net *hal, const struct hal_net_piece *pieces, unsigned count, const struct hal_net_offload *offload,
                    void *cookie, bool more) {
    struct host_net *net = of(hal);
    static uint8_t frame[HOST_NET_FRAME];
    size_t size = 0;
    (void)more;
    if (hal->gone)
        return -HAL_ENODEV;
    if (net->sending_count == HOST_NET_SENDING) {
        net->was_full = true;
        return -HAL_ENOSPC;
    }
    if (count == 0 || count > HAL_NET_MAX_PIECES || offload->checksum_start || offload->segment_size)
        abort(); /* what was not offered must not be asked for */
    for (unsigned i = 0; i < count; i++) {
        if (pieces[i].length > sizeof frame - size)
            abort();
        memcpy(frame + size, pieces[i].data, pieces[i].length);
        size += pieces[i].length;
    }
    if (size < 14 || size > 14u + hal->mtu)
        abort();
    net->sending[net->sending_count++] = cookie;
    capture(net, frame, size);
    net->link->send(net->link, frame, size);
    return 0;
}

static void flush(struct hal_net *hal) {
    (void)hal;
}

static void recycle(struct hal_net *hal, struct hal_net_buffer *frame) {
    struct host_net *net = of(hal);
    while (frame) {
        struct hal_net_buffer *next = frame->next;
        if (frame < net->buffers || frame >= net->buffers + HOST_NET_BUFFERS || !frame->private_)
            abort(); /* not a buffer of ours, or given back twice */
        free(frame->data);
        *frame = (struct hal_net_buffer){0};
        net->held--;
        frame = next;
    }
}

static unsigned poll_device(struct hal_net *hal, unsigned budget) {
    struct host_net *net = of(hal);
    unsigned sent = net->sending_count, done = 0;
    void *cookies[HOST_NET_SENDING];
    memcpy(cookies, net->sending, sent * sizeof cookies[0]);
    net->sending_count = 0;
    for (unsigned i = 0; i < sent; i++)
        hal->handler.sent(hal->handler.context, cookies[i]);
    if (net->was_full) {
        net->was_full = false;
        hal->handler.room(hal->handler.context);
    }
    while (done < budget && net->incoming_count) {
        struct hal_net_buffer *frame = net->incoming[0];
        net->incoming_count--;
        memmove(net->incoming, net->incoming + 1, net->incoming_count * sizeof net->incoming[0]);
        hal->handler.received(hal->handler.context, frame, net->checksum);
        done++;
    }
    return done;
}

static bool receive_interrupts(struct hal_net *hal, bool enable) {
    of(hal)->interrupts = enable;
    return enable && of(hal)->incoming_count;
}

static const struct hal_net_ops ops = {transmit, flush, recycle, poll_device, receive_interrupts, NULL};

void host_net_create(struct host_net *net, struct host_link *link) {
    memset(net, 0, sizeof *net);
    net->net = (struct hal_net){.ops = &ops, .mac = {0x52, 0x54, 0, 1, 2, 3}, .mtu = 1500, .link_up = true, .receive_buffers = HOST_NET_BUFFERS};
    net->link = link;
    net->pieces = 1;
    net->interrupts = true;
    net->next = devices;
    devices = net;
    hal_net_register(&net->net);
}

/* One piece of a frame in memory of its own. */
static struct hal_net_buffer *buffer_of(struct host_net *net, const uint8_t *bytes, size_t size) {
    for (unsigned i = 0; i < HOST_NET_BUFFERS; i++) {
        struct hal_net_buffer *buffer = &net->buffers[i];
        if (buffer->private_)
            continue;
        uint8_t *copy = malloc(size);
        if (!copy)
            abort();
        memcpy(copy, bytes, size);
        *buffer = (struct hal_net_buffer){.data = copy, .length = (uint32_t)size, .private_ = 1};
        net->held++;
        return buffer;
    }
    return NULL;
}

static void take_in(struct host_net *net, const uint8_t *bytes, size_t size) {
    struct hal_net_buffer *first = NULL, **end = &first;
    size_t needed = (size + HOST_NET_BUFFER - 1) / HOST_NET_BUFFER, at = 0;
    size_t pieces = needed > net->pieces ? needed : size < net->pieces ? size : net->pieces;
    capture(net, bytes, size);
    for (size_t i = 0; i < pieces; i++) {
        size_t now = (size - at) / (pieces - i);
        *end = buffer_of(net, bytes + at, now);
        if (!*end) {
            if (first)
                recycle(&net->net, first);
            net->lost++;
            return;
        }
        end = &(*end)->next;
        at += now;
    }
    if (first)
        net->incoming[net->incoming_count++] = first;
}

/* Without buffers for the next frame it stays on the link, as with a ring that the driver has not filled. */
static bool has_room(const struct host_net *net) {
    return HOST_NET_BUFFERS - net->held >= net->pieces;
}

uint64_t host_net_due(void) {
    uint64_t earliest = HAL_FOREVER;
    for (struct host_net *net = devices; net; net = net->next) {
        uint64_t due = net->link->due(net->link);
        if (due < earliest && has_room(net))
            earliest = due;
    }
    return earliest;
}

void host_net_arrive(void) {
    static uint8_t frame[HOST_NET_FRAME];
    for (struct host_net *net = devices; net; net = net->next) {
        size_t size;
        while (has_room(net) && (size = net->link->receive(net->link, frame, hal_clock_monotonic())) > 0)
            take_in(net, frame, size);
        if (net->incoming_count && net->interrupts && net->net.handler.interrupt)
            net->net.handler.interrupt(net->net.handler.context);
    }
}

bool host_net_is_real_time(void) {
    for (const struct host_net *net = devices; net; net = net->next)
        if (net->link->descriptor >= 0)
            return true;
    return false;
}

uint64_t host_net_wait(uint64_t ns) {
    struct pollfd waited[4];
    nfds_t count = 0;
    struct timespec before, after, limit = {(time_t)(ns / NS_PER_S), (long)(ns % NS_PER_S)};
    for (const struct host_net *net = devices; net && count < 4; net = net->next)
        if (net->link->descriptor >= 0)
            waited[count++] = (struct pollfd){.fd = net->link->descriptor, .events = POLLIN};
    if (count == 0)
        return 0;
    clock_gettime(CLOCK_MONOTONIC, &before);
    if (ppoll(waited, count, ns == HAL_FOREVER ? NULL : &limit, NULL) < 0 && errno != EINTR)
        abort();
    clock_gettime(CLOCK_MONOTONIC, &after);
    uint64_t took = (uint64_t)(after.tv_sec - before.tv_sec) * NS_PER_S + (uint64_t)after.tv_nsec - (uint64_t)before.tv_nsec;
    return took < ns ? took : ns;
}

void host_net_forget(void) {
    for (struct host_net *net = devices; net; net = net->next) {
        if (net->capture)
            fclose(net->capture);
        net->capture = NULL;
        for (unsigned i = 0; i < HOST_NET_BUFFERS; i++)
            free(net->buffers[i].data);
    }
    devices = NULL;
}
