/*
 * A network device of the host platform: frames of a link, which is a wire in memory, a capture file, a pair of pipes or
 * a TAP interface.
 *
 * A received frame lies in memory of exactly its length, which is freed when it is given back, so that the sanitizer sees
 * what reads beyond it or keeps it. Frames arrive only inside hal_idle(), the one place where
 * kernel code can be interrupted. With a wire or a capture, time stays virtual; with pipes or a TAP, whose other end lives in
 * real time, hal_idle() waits for it and moves the clock by as much as it has waited.
 */
#ifndef HOST_NET_H
#define HOST_NET_H

#include <stdio.h>

#include "hal/net.h"

#define HOST_NET_BUFFERS 64   /* receive buffers: as many pieces may be with the stack at once */
#define HOST_NET_BUFFER 2048u /* bytes in one */
#define HOST_NET_FRAME 65535u /* bytes, the largest frame of a link */
#define HOST_NET_SENDING 256  /* frames that were sent and not reported by `poll` yet */
#define HOST_NET_WIRE 256     /* frames that a wire holds, each way */

/* What a device hangs on. Owned by the caller; stays until the next host_start(). None of the functions blocks. */
struct host_link {
    /* Takes the next frame that is there at `now` (virtual ns) to `frame`: its length, at most HOST_NET_FRAME. 0: none. */
    size_t (*receive)(struct host_link *link, uint8_t *frame, uint64_t now);
    /* Takes a frame of the device. A link that has no room loses it, as a network does. */
    void (*send)(struct host_link *link, const uint8_t *frame, size_t size);
    /* When the next frame arrives (virtual ns); HAL_FOREVER: unknown, or never. */
    uint64_t (*due)(struct host_link *link);
    int descriptor; /* becomes readable when frames arrive in real time; -1: none */
};

/* The fields up to `held` may be changed by a test between two calls; see hal_net_handler.received for the checksum. */
struct host_net {
    struct hal_net net;
    struct host_link *link;
    enum hal_net_checksum checksum;
    unsigned pieces; /* a received frame comes in at least so many buffers, where it has the bytes */
    unsigned held;   /* receive buffers that are with the stack */
    unsigned lost;   /* frames that were longer than all buffers left */
    struct hal_net_buffer buffers[HOST_NET_BUFFERS];
    struct hal_net_buffer *incoming[HOST_NET_BUFFERS];
    unsigned incoming_count;
    void *sending[HOST_NET_SENDING];
    unsigned sending_count;
    bool interrupts, was_full;
    FILE *capture;
    struct host_net *next;
};

/* Registers a device with MAC address 52:54:00:01:02:03 and an MTU of 1500 bytes. After host_start(). */
void host_net_create(struct host_net *net, struct host_link *link);
/* Writes every frame, both ways, to a new capture file (pcap, nanoseconds, Ethernet). False: it cannot be written. */
bool host_net_capture(struct host_net *net, const char *path);

/* For host.c. The earliest `due` of all links; taking in what has arrived; waiting in real time, at most `ns`. */
uint64_t host_net_due(void);
void host_net_arrive(void);
/* Waits for a link that lives in real time and returns the ns that it took. 0 at once where there is no such link. */
uint64_t host_net_wait(uint64_t ns);
bool host_net_is_real_time(void);
/* Forgets all devices; ends their captures. */
void host_net_forget(void);

/* A wire: frames that a test puts on it and takes from it. */
struct host_frame {
    size_t size;
    uint8_t bytes[HOST_NET_FRAME];
};
struct host_wire {
    struct host_link link;
    struct host_frame *in[HOST_NET_WIRE], *out[HOST_NET_WIRE];
    unsigned in_count, out_count;
};
void host_wire_create(struct host_wire *wire);
/* To the device. False: the wire is full. */
bool host_wire_put(struct host_wire *wire, const void *frame, size_t size);
/* The next frame of the device, to be freed with free(). NULL: none. */
struct host_frame *host_wire_take(struct host_wire *wire);

/*
 * A capture file (pcap, draft-ietf-opsawg-pcap; micro- or nanoseconds, either byte order, Ethernet): its frames arrive at
 * the distances in time that they were captured at, the first at `start` (virtual ns; HAL_FOREVER: at the file's own times);
 * those of the device itself (by `mac`) are left out. What the device sends goes nowhere. 0, or -HAL_EINVAL for what is no such file, -HAL_EIO.
 */
struct host_replay {
    struct host_link link;
    FILE *file;
    bool swapped, nanoseconds, over;
    uint8_t mac[6];
    uint64_t start, first, at; /* virtual ns; the file's first time; when `frame` arrives */
    bool has_first;
    struct host_frame frame;
};
int host_replay_open(struct host_replay *replay, const char *path, const uint8_t mac[6], uint64_t start);
void host_replay_close(struct host_replay *replay);

/*
 * Two descriptors of pipes or sockets, each frame behind its length (four bytes, the highest first), as QEMU's
 * `-netdev socket` writes them. They become non-blocking and stay the caller's. A length of 0 or above HOST_NET_FRAME, and
 * the end of the file, end the link.
 */
struct host_pipe {
    struct host_link link;
    int in, out;
    bool over;
    uint8_t got[4 + HOST_NET_FRAME], rest[4 + HOST_NET_FRAME];
    size_t got_size, rest_at, rest_size; /* of a frame that is half read; of one that is half written */
};
void host_pipe_create(struct host_pipe *pipe, int in, int out);

/* A TAP interface of the network namespace that the process is in, made if it is not there. 0 or a negative error number. */
struct host_tap {
    struct host_link link;
};
int host_tap_open(struct host_tap *tap, const char *name);
void host_tap_close(struct host_tap *tap);

#endif
