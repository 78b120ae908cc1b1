/*
 * What a network device of the host platform may hang on.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "hal/clock.h"
#include "host_net.h"

static uint64_t never(struct host_link *link) {
    (void)link;
    return HAL_FOREVER;
}

/* A wire. */

static size_t wire_receive(struct host_link *link, uint8_t *frame, uint64_t now) {
    struct host_wire *wire = (struct host_wire *)link;
    (void)now;
    if (wire->in_count == 0)
        return 0;
    struct host_frame *first = wire->in[0];
    size_t size = first->size;
    memcpy(frame, first->bytes, size);
    free(first);
    memmove(wire->in, wire->in + 1, --wire->in_count * sizeof wire->in[0]);
    return size;
}

static bool append(struct host_frame **frames, unsigned *count, const void *bytes, size_t size) {
    if (*count == HOST_NET_WIRE || size == 0 || size > HOST_NET_FRAME)
        return false;
    struct host_frame *frame = malloc(offsetof(struct host_frame, bytes) + size);
    if (!frame)
        abort();
    frame->size = size;
    memcpy(frame->bytes, bytes, size);
    frames[(*count)++] = frame;
    return true;
}

/* The oldest frames that nobody took give way. */
static void wire_send(struct host_link *link, const uint8_t *frame, size_t size) {
    struct host_wire *wire = (struct host_wire *)link;
    if (wire->out_count == HOST_NET_WIRE)
        free(host_wire_take(wire));
    append(wire->out, &wire->out_count, frame, size);
}

static uint64_t wire_due(struct host_link *link) {
    return ((struct host_wire *)link)->in_count ? 0 : HAL_FOREVER;
}

void host_wire_create(struct host_wire *wire) {
    *wire = (struct host_wire){.link = {wire_receive, wire_send, wire_due, -1}};
}

bool host_wire_put(struct host_wire *wire, const void *frame, size_t size) {
    return append(wire->in, &wire->in_count, frame, size);
}

struct host_frame *host_wire_take(struct host_wire *wire) {
    if (wire->out_count == 0)
        return NULL;
    struct host_frame *first = wire->out[0];
    memmove(wire->out, wire->out + 1, --wire->out_count * sizeof wire->out[0]);
    return first;
}

/* A capture. */

static uint32_t in_order(const struct host_replay *replay, uint32_t value) {
    return replay->swapped ? __builtin_bswap32(value) : value;
}

/* Reads on to the next frame that is not the device's own. */
static void replay_next(struct host_replay *replay) {
    uint32_t header[4];
    while (fread(header, sizeof header, 1, replay->file) == 1) {
        uint32_t fraction = in_order(replay, header[1]), size = in_order(replay, header[2]);
        uint64_t time = in_order(replay, header[0]) * 1000000000ull + (replay->nanoseconds ? fraction : fraction * 1000ull);
        if (size == 0 || size > HOST_NET_FRAME || fread(replay->frame.bytes, size, 1, replay->file) != 1)
            break;
        if (replay->start == HAL_FOREVER)
            replay->start = replay->first = time;
        else if (!replay->has_first)
            replay->first = time;
        replay->has_first = true;
        if (size >= 12 && memcmp(replay->frame.bytes + 6, replay->mac, 6) == 0)
            continue;
        replay->frame.size = size;
        replay->at = replay->start + (time > replay->first ? time - replay->first : 0);
        return;
    }
    replay->over = true;
}

static size_t replay_receive(struct host_link *link, uint8_t *frame, uint64_t now) {
    struct host_replay *replay = (struct host_replay *)link;
    if (replay->over || replay->at > now)
        return 0;
    size_t size = replay->frame.size;
    memcpy(frame, replay->frame.bytes, size);
    replay_next(replay);
    return size;
}

static void replay_send(struct host_link *link, const uint8_t *frame, size_t size) {
    (void)link;
    (void)frame;
    (void)size;
}

static uint64_t replay_due(struct host_link *link) {
    const struct host_replay *replay = (struct host_replay *)link;
    return replay->over ? HAL_FOREVER : replay->at;
}

int host_replay_open(struct host_replay *replay, const char *path, const uint8_t mac[6], uint64_t start) {
    uint32_t header[6];
    memset(replay, 0, sizeof *replay);
    replay->link = (struct host_link){replay_receive, replay_send, replay_due, -1};
    replay->start = start;
    memcpy(replay->mac, mac, 6);
    replay->file = fopen(path, "rb");
    if (!replay->file)
        return -HAL_EIO;
    bool whole = fread(header, sizeof header, 1, replay->file) == 1;
    uint32_t magic = whole ? header[0] : 0;
    replay->swapped = magic == 0xd4c3b2a1 || magic == 0x4d3cb2a1;
    replay->nanoseconds = in_order(replay, magic) == 0xa1b23c4d;
    if (!whole || (in_order(replay, magic) != 0xa1b2c3d4 && !replay->nanoseconds) || (in_order(replay, header[5]) & 0xfffffff) != 1) {
        host_replay_close(replay);
        return -HAL_EINVAL;
    }
    replay_next(replay);
    return 0;
}

void host_replay_close(struct host_replay *replay) {
    if (replay->file)
        fclose(replay->file);
    replay->file = NULL;
    replay->over = true;
}

/* Pipes. */

static void pipe_over(struct host_pipe *pipe) {
    pipe->over = true;
    pipe->link.descriptor = -1;
}

static size_t frame_size(const uint8_t *length) {
    return (size_t)length[0] << 24 | (size_t)length[1] << 16 | (size_t)length[2] << 8 | length[3];
}

static size_t pipe_receive(struct host_link *link, uint8_t *frame, uint64_t now) {
    struct host_pipe *pipe = (struct host_pipe *)link;
    (void)now;
    while (!pipe->over) {
        size_t wanted = 4;
        if (pipe->got_size >= 4) {
            wanted = 4 + frame_size(pipe->got);
            if (wanted == 4 || wanted > sizeof pipe->got) {
                pipe_over(pipe);
                break;
            }
            if (pipe->got_size == wanted) {
                memcpy(frame, pipe->got + 4, wanted - 4);
                pipe->got_size = 0;
                return wanted - 4;
            }
        }
        ssize_t now_got = read(pipe->in, pipe->got + pipe->got_size, wanted - pipe->got_size);
        if (now_got < 0 && (errno == EAGAIN || errno == EINTR))
            break;
        if (now_got <= 0)
            pipe_over(pipe);
        else
            pipe->got_size += (size_t)now_got;
    }
    return 0;
}

/* Writes what is left of a frame. False: not all of it could be. */
static bool pipe_write(struct host_pipe *pipe) {
    while (pipe->rest_at < pipe->rest_size) {
        ssize_t written = write(pipe->out, pipe->rest + pipe->rest_at, pipe->rest_size - pipe->rest_at);
        if (written <= 0)
            return false;
        pipe->rest_at += (size_t)written;
    }
    return true;
}

static void pipe_send(struct host_link *link, const uint8_t *frame, size_t size) {
    struct host_pipe *pipe = (struct host_pipe *)link;
    if (pipe->over || !pipe_write(pipe))
        return;
    const uint8_t length[4] = {(uint8_t)(size >> 24), (uint8_t)(size >> 16), (uint8_t)(size >> 8), (uint8_t)size};
    memcpy(pipe->rest, length, 4);
    memcpy(pipe->rest + 4, frame, size);
    pipe->rest_at = 0;
    pipe->rest_size = 4 + size;
    pipe_write(pipe);
}

static void without_blocking(int descriptor) {
    int flags = fcntl(descriptor, F_GETFL);
    if (flags < 0 || fcntl(descriptor, F_SETFL, flags | O_NONBLOCK) < 0)
        abort();
}

void host_pipe_create(struct host_pipe *pipe, int in, int out) {
    memset(pipe, 0, sizeof *pipe);
    pipe->link = (struct host_link){pipe_receive, pipe_send, never, in};
    pipe->in = in;
    pipe->out = out;
    without_blocking(in);
    without_blocking(out);
}

/* A TAP. */

static size_t tap_receive(struct host_link *link, uint8_t *frame, uint64_t now) {
    (void)now;
    ssize_t got = read(link->descriptor, frame, HOST_NET_FRAME);
    return got > 0 ? (size_t)got : 0;
}

static void tap_send(struct host_link *link, const uint8_t *frame, size_t size) {
    ssize_t sent = write(link->descriptor, frame, size);
    (void)sent; /* an interface that is down loses frames */
}

int host_tap_open(struct host_tap *tap, const char *name) {
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI};
    int descriptor = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    tap->link = (struct host_link){tap_receive, tap_send, never, descriptor};
    if (descriptor < 0)
        return -errno;
    strncpy(request.ifr_name, name, IFNAMSIZ - 1);
    if (ioctl(descriptor, TUNSETIFF, &request) < 0) {
        int error = errno;
        host_tap_close(tap);
        return -error;
    }
    return 0;
}

void host_tap_close(struct host_tap *tap) {
    if (tap->link.descriptor >= 0)
        close(tap->link.descriptor);
    tap->link.descriptor = -1;
}
