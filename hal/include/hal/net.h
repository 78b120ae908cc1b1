/*
 * A network device: Ethernet frames in buffers of its own.
 */
#ifndef HAL_NET_H
#define HAL_NET_H

#include "hal/base.h"

struct hal_net;

/*
 * A buffer for one frame, or one piece of it; a frame has at most 65535 bytes. Owned by the driver while queued for
 * receiving; by the stack from `received` until hal_net_ops.recycle.
 */
struct hal_net_buffer {
    uint8_t *data;   /* first byte of the piece */
    uint32_t length; /* bytes */
    struct hal_net_buffer *next; /* next piece of the same frame, NULL: last */
    uint32_t private_;
};

enum hal_net_checksum {
    HAL_NET_CHECKSUM_NONE,    /* nothing known: check it yourself */
    HAL_NET_CHECKSUM_VALID,   /* checked by the device, or never on a wire */
    HAL_NET_CHECKSUM_PARTIAL, /* only the pseudo-header's sum is in place (virtio NEEDS_CSUM): trust, or complete */
};

/* A piece of a frame to send. */
struct hal_net_piece {
    const void *data; /* RAM of hal_phys_to_virt(); physically contiguous */
    uint32_t length;
};

/* What the device shall do to a frame that it sends. Zero: send as it is. */
struct hal_net_offload {
    uint16_t checksum_start;  /* first byte summed; 0: no checksum wanted */
    uint16_t checksum_offset; /* where the sum goes, from checksum_start */
    uint16_t segment_size;    /* TCP payload of one segment (TSO); 0: none */
    uint16_t header_length;   /* Ethernet to TCP, with segment_size */
    bool ipv6;
};

/* None of these blocks. */
struct hal_net_ops {
    /*
     * Sends one frame of `count` pieces (1 to HAL_NET_MAX_PIECES). The pieces must stay as they are until `sent(cookie)`
     * was called (the device's handler, interrupt context). 0; -HAL_ENOSPC: the ring is full, `room` will be called;
     * -HAL_ENODEV. `more`: another frame follows at once, the device need not be told yet.
     */
    int (*transmit)(struct hal_net *device, const struct hal_net_piece *pieces, unsigned count, const struct hal_net_offload *offload,
                    void *cookie, bool more);
    /* Tells the device of what was sent with `more`. */
    void (*flush)(struct hal_net *device);
    /* Gives a received frame (its first piece) back to the ring. */
    void (*recycle)(struct hal_net *device, struct hal_net_buffer *frame);
    /* Collects what arrived and what was sent; calls the handler. Returns the number of frames received, at most `budget`. */
    unsigned (*poll)(struct hal_net *device, unsigned budget);
    /* Interrupts for received frames on or off. Turning them on returns true if something is waiting already: poll again. */
    bool (*receive_interrupts)(struct hal_net *device, bool enable);
    /* Looks whether the device still answers; where it does not, it is gone and the handler hears of it. NULL: nobody knows. */
    void (*check)(struct hal_net *device);
};

#define HAL_NET_MAX_PIECES 18

/* Set by the TCP/IP stack before its first `poll`; all called from `poll` or `transmit`, except `interrupt` and `link`. */
struct hal_net_handler {
    void (*received)(void *context, struct hal_net_buffer *frame, enum hal_net_checksum checksum);
    void (*sent)(void *context, void *cookie);
    void (*room)(void *context);
    void (*interrupt)(void *context); /* interrupt context: schedule a poll */
    void (*link)(void *context, bool up);
    void *context;
};

struct hal_net {
    const struct hal_net_ops *ops;
    uint8_t mac[6];
    uint16_t mtu; /* IP bytes */
    uint16_t receive_buffers; /* how many there are in all, the stack's and the device's */
    bool checksum_offload; /* transmit fills checksums in */
    bool segmentation4, segmentation6; /* transmit cuts large TCP segments */
    bool link_up;
    bool gone; /* the device vanished: transmit answers -HAL_ENODEV, nothing will be received */
    struct hal_net_handler handler;
    struct hal_net *next;
};

#endif
