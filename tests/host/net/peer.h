/*
 * A peer on the wire, whose frames are written byte by byte: Ethernet (IEEE 802.3), ARP (RFC 826), IPv4 (RFC 791), TCP
 * (RFC 9293).
 */
#ifndef PEER_H
#define PEER_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define OURS 0x0a00020fu
#define PEER 0x0a000202u
#define PEER_MAC "\x52\x55\x0a\x00\x02\x02"
#define OUR_MAC "\x52\x54\x00\x01\x02\x03" /* of host_net.h */
#define FIN 1
#define SYN 2
#define RST 4
#define PSH 8
#define ACK 16

static inline void put16(uint8_t *at, unsigned value) {
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}
static inline void put32(uint8_t *at, uint32_t value) {
    put16(at, value >> 16);
    put16(at + 2, value & 0xffff);
}
static inline uint32_t get32(const uint8_t *at) {
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

/* The Internet checksum as RFC 1071 defines it, of bytes behind a sum of 16-bit words. */
static inline uint16_t sum_of(const uint8_t *data, unsigned length, uint32_t sum) {
    for (unsigned i = 0; i + 1 < length; i += 2)
        sum += (uint32_t)data[i] << 8 | data[i + 1];
    if (length & 1)
        sum += (uint32_t)data[length - 1] << 8;
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

static inline uint32_t pseudo_of(unsigned protocol, unsigned length) {
    return (PEER >> 16) + (PEER & 0xffff) + (OURS >> 16) + (OURS & 0xffff) + protocol + length;
}

/* Ethernet and IPv4 headers of a packet of the peer with `size` bytes behind them. The bytes of both: 34. */
static inline unsigned ip_frame(uint8_t *frame, unsigned protocol, unsigned size) {
    uint8_t *ip = frame + 14;
    memcpy(frame, OUR_MAC, 6);
    memcpy(frame + 6, PEER_MAC, 6);
    put16(frame + 12, 0x0800);
    memset(ip, 0, 20);
    ip[0] = 0x45;
    put16(ip + 2, 20 + size);
    ip[8] = 64;
    ip[9] = (uint8_t)protocol;
    put32(ip + 12, PEER);
    put32(ip + 16, OURS);
    put16(ip + 10, sum_of(ip, 20, 0));
    return 34;
}

/* A segment of the peer's `port` to our port `to`; `options_size` is a multiple of 4. The frame's length. */
static inline unsigned tcp_frame_to(uint8_t *frame, uint16_t port, uint16_t to, uint32_t sequence, uint32_t acknowledged, unsigned flags,
                                    unsigned window, const void *options, unsigned options_size, const void *data, unsigned size) {
    unsigned length = 20 + options_size + size;
    uint8_t *tcp = frame + ip_frame(frame, 6, length);
    memset(tcp, 0, 20);
    put16(tcp, port);
    put16(tcp + 2, to);
    put32(tcp + 4, sequence);
    put32(tcp + 8, acknowledged);
    tcp[12] = (uint8_t)((5 + options_size / 4) << 4);
    tcp[13] = (uint8_t)flags;
    put16(tcp + 14, window);
    memcpy(tcp + 20, options, options_size);
    memcpy(tcp + 20 + options_size, data, size);
    put16(tcp + 16, sum_of(tcp, length, pseudo_of(6, length)));
    return 34 + length;
}

/* ... without options, with the largest window that needs no scaling, to port 80. */
static inline unsigned tcp_frame(uint8_t *frame, uint16_t port, uint32_t sequence, uint32_t acknowledged, unsigned flags, const void *data,
                                 unsigned size) {
    return tcp_frame_to(frame, port, 80, sequence, acknowledged, flags, 65535, "", 0, data, size);
}

/* The peer's answer to the question who has its address: 42 bytes. */
static inline unsigned arp_frame(uint8_t *frame) {
    memcpy(frame, OUR_MAC, 6);
    memcpy(frame + 6, PEER_MAC, 6);
    memcpy(frame + 12, "\x08\x06\x00\x01\x08\x00\x06\x04\x00\x02" PEER_MAC, 16);
    put32(frame + 28, PEER);
    memcpy(frame + 32, OUR_MAC, 6);
    put32(frame + 38, OURS);
    return 42;
}

/* The TCP header of a frame of ours over IPv4, and the bytes of data behind it; NULL: it is none, or its sums are wrong. */
static inline const uint8_t *tcp_of(const uint8_t *frame, unsigned *size) {
    if (frame[12] != 8 || frame[13] != 0 || frame[23] != 6)
        return NULL;
    unsigned length = (unsigned)(frame[16] << 8 | frame[17]) - 20;
    const uint8_t *tcp = frame + 34;
    if (sum_of(frame + 14, 20, 0) != 0 || sum_of(tcp, length, pseudo_of(6, length)) != 0)
        return NULL;
    *size = length - (unsigned)(tcp[12] >> 4) * 4;
    return tcp;
}

#endif
