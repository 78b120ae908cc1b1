/*
 * Any packets on the wire of a machine whose program listens, has a connection, reads and writes. The input is a sequence of
 * steps, each a byte that says which and what it needs behind it; a step that makes a packet puts the lengths and sums right,
 * so that what lies behind them is reached, or leaves them wrong. What must hold: every frame that is sent has right sums,
 * and when all sockets are closed no receive buffer is held.
 */
#include "../../host/net/peer.h"
#include "../../host/net/program.h"
#include "fuzz.h"
#include "host_net.h"

#include "lwip/netif.h"
#include "lwip/priv/tcp_priv.h"
#include "nano/errno.h"

#define FRAME 2048
#define STEPS 200
#define CONNECTIONS 4
#define PEER_PORT 2000

static struct host_wire wire;
static struct host_net device;
static int listening, datagrams, connections[CONNECTIONS];
static uint32_t our_next, their_next; /* sequence numbers of the first connection, as far as the peer knows */
static const uint8_t *input;
static size_t input_left;
static uint8_t frame[FRAME];
static unsigned frame_size;

static uint8_t next(void) {
    if (!input_left)
        return 0;
    input_left--;
    return *input++;
}
static unsigned next16(void) {
    unsigned high = next();
    return high << 8 | next();
}

/* Bytes of the input, zeros behind its end. */
static void take(uint8_t *to, unsigned size) {
    for (unsigned i = 0; i < size; i++)
        to[i] = next();
}

static void look_at_sent(void) {
    struct host_frame *sent;
    unsigned size;
    while ((sent = host_wire_take(&wire))) {
        const uint8_t *bytes = sent->bytes;
        bool is_tcp = sent->size >= 54 && bytes[12] == 8 && bytes[13] == 0 && bytes[23] == 6 && get32(bytes + 26) == OURS && get32(bytes + 30) == PEER;
        if (is_tcp) {
            const uint8_t *tcp = tcp_of(bytes, &size);
            if (!tcp)
                abort();
            if (tcp[2] == PEER_PORT >> 8 && tcp[3] == (PEER_PORT & 255))
                our_next = get32(tcp + 4) + size + (tcp[13] & (SYN | FIN) ? 1 : 0);
        }
        free(sent);
    }
}

static void settle(uint64_t ns) {
    host_run_until(hal_clock_monotonic() + ns);
    look_at_sent();
}

static void arrive(void) {
    if (frame_size)
        host_wire_put(&wire, frame, frame_size);
    settle(MS / 10);
}

/* What the peer does. */

static void ethernet_frame(void) {
    static const uint16_t types[] = {0x0800, 0x86dd, 0x0806, 0x8100, 0x88cc};
    unsigned kind = next(), size = next16() % 600;
    memcpy(frame, kind & 0x80 ? (const uint8_t *)"\x33\x33\0\0\0\x01" : (const uint8_t *)OUR_MAC, 6);
    memcpy(frame + 6, PEER_MAC, 6);
    put16(frame + 12, types[kind % 5]);
    take(frame + 14, size);
    frame_size = 14 + size;
}

static void ip4_packet(void) {
    static const uint8_t protocols[] = {17, 1, 6, 2};
    unsigned kind = next(), fragment = next16(), size = next16() % 1480;
    unsigned protocol = protocols[kind % 4], at = ip_frame(frame, protocol, size);
    take(frame + at, size);
    put16(frame + 20, fragment); /* identification and fragment: the same bytes, so that some belong together */
    put16(frame + 18, next() & 3);
    put16(frame + 24, 0);
    put16(frame + 24, sum_of(frame + 14, 20, 0));
    static const uint8_t sums[] = {6, 2, 16, 2};
    unsigned sum = sums[kind % 4];
    if (kind & 0x80 && size >= sum + 2) {
        put16(frame + at + sum, 0);
        put16(frame + at + sum, sum_of(frame + at, size, protocol == 1 ? 0 : pseudo_of(protocol, size)));
    }
    frame_size = at + size;
}

static void ip6_packet(void) {
    static const uint8_t headers[] = {58, 17, 6, 0, 44, 60, 43, 59};
    unsigned kind = next(), size = next16() % 1400, header = headers[kind % 8];
    const struct netif *netif = netif_default;
    memcpy(frame, OUR_MAC PEER_MAC "\x86\xdd\x60\0\0", 17);
    memset(frame + 17, 0, 1);
    put16(frame + 18, size);
    frame[20] = (uint8_t)header;
    frame[21] = kind & 0x40 ? 64 : 255;
    memcpy(frame + 22, kind & 0x20 ? "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0" : "\xfe\x80\0\0\0\0\0\0\0\0\0\0\0\0\0\x02", 16);
    if (kind & 0x10)
        memcpy(frame + 38, "\xff\x02\0\0\0\0\0\0\0\0\0\0\0\0\0\x01", 16);
    else
        memcpy(frame + 38, netif_ip6_addr(netif, 0)->addr, 16);
    take(frame + 54, size);
    static const uint8_t sums[] = {2, 6, 16};
    if (kind & 0x80 && kind % 8 < 3 && size >= sums[kind % 8] + 2u) {
        uint8_t *sum = frame + 54 + sums[kind % 8];
        uint32_t pseudo = header + size;
        for (unsigned i = 0; i < 32; i += 2)
            pseudo += (uint32_t)frame[22 + i] << 8 | frame[23 + i];
        put16(sum, 0);
        put16(sum, sum_of(frame + 54, size, pseudo));
    }
    frame_size = 54 + size;
}

/* A segment near what the connection expects, or to the listener. */
static void tcp_segment(void) {
    uint8_t options[40], data[1460];
    unsigned kind = next(), flags = next() & 0x3f, options_size = kind >> 4 & 3 ? (kind >> 4 & 3) * 4 : 0;
    uint16_t port = kind & 0x80 ? (uint16_t)(PEER_PORT + 1 + next() % 8) : PEER_PORT;
    uint32_t sequence = their_next + (uint32_t)(kind & 1 ? (int16_t)next16() : 0), acknowledged = our_next + (uint32_t)(kind & 2 ? (int16_t)next16() : 0);
    unsigned window = kind & 4 ? next16() : 65535, size = kind & 8 ? next16() % sizeof data : next();
    take(options, options_size);
    take(data, size);
    frame_size = tcp_frame_to(frame, port, 80, sequence, acknowledged, flags, window, options, options_size, data, size);
    if (!(kind & 1) && port == PEER_PORT)
        their_next += size + (flags & FIN ? 1 : 0);
}

static void change(void) {
    for (unsigned i = next() % 4 + 1; i > 0 && frame_size > 14; i--)
        frame[14 + next16() % (frame_size - 14)] ^= next();
    if (next() & 1 && frame_size > 14)
        frame_size = 14 + next16() % (frame_size - 13);
}

/* What the program does. */

static int *some_connection(unsigned choice) {
    return &connections[choice % CONNECTIONS];
}

static void program_acts(void) {
    unsigned what = next();
    int *fd = some_connection(what >> 4);
    switch (what % 8) {
    case 0:
        CALL(SYS_recvfrom, (uint64_t)*fd, memory, next16(), next() & 0x20 ? MSG_PEEK : 0);
        break;
    case 1:
        CALL(SYS_sendto, (uint64_t)*fd, memory, next16(), next() & 1 ? MSG_MORE : MSG_NOSIGNAL);
        break;
    case 2:
        if (*fd >= 0)
            break;
        *fd = (int)CALL(SYS_accept4, (uint64_t)listening, 0, 0, SOCK_NONBLOCK);
        break;
    case 3:
        CALL(SYS_shutdown, (uint64_t)*fd, next() % 3);
        break;
    case 4:
        if (*fd >= 0)
            CALL(SYS_close, (uint64_t)*fd);
        *fd = -1;
        break;
    case 5:
        CALL(SYS_sendto, (uint64_t)datagrams, memory + 4096, next16() % 3000, 0, address4(PEER, 53), 16);
        break;
    case 6:
        if (*fd >= 0)
            set_option(*fd, IPPROTO_TCP, next() & 1 ? TCP_CORK : TCP_NODELAY, next() & 1);
        break;
    default:
        if (*fd >= 0)
            break;
        *fd = (int)CALL(SYS_socket, AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        CALL(SYS_connect, (uint64_t)*fd, address4(PEER, (uint16_t)(PEER_PORT + next() % 8)), 16);
    }
}

/* The program reads whatever has come. */
static void program_reads(void) {
    for (unsigned i = 0; i < CONNECTIONS; i++)
        if (connections[i] >= 0)
            CALL(SYS_recvfrom, (uint64_t)connections[i], memory, 100000, MSG_DONTWAIT);
    while (CALL(SYS_recvfrom, (uint64_t)datagrams, memory, 3000, MSG_DONTWAIT) >= 0)
        ;
}

static void start(void) {
    static const char settings[] = "schema=1\0program=/bin/x\0hostname=host\0net=static,10.0.2.15/24,10.0.2.2,10.0.2.3";
    host_start((size_t)64 << 20);
    host_wire_create(&wire);
    host_net_create(&device, &wire.link);
    start_machine(settings, sizeof settings);
    listening = (int)CALL(SYS_socket, AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    EQUAL(CALL(SYS_bind, (uint64_t)listening, address4(INADDR_ANY, 80), 16), 0);
    EQUAL(CALL(SYS_listen, (uint64_t)listening, 4), 0);
    datagrams = (int)CALL(SYS_socket, AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    EQUAL(CALL(SYS_bind, (uint64_t)datagrams, address4(INADDR_ANY, 53), 16), 0);
    settle(3000 * MS); /* the addresses of IPv6 are no longer tentative */
}

/* The peer is known, and has a connection that the program has taken. */
static void connect_peer(void) {
    frame_size = arp_frame(frame);
    arrive();
    their_next = 1000;
    frame_size = tcp_frame(frame, PEER_PORT, their_next++, 0, SYN, "", 0);
    arrive();
    frame_size = tcp_frame(frame, PEER_PORT, their_next, our_next, ACK, "", 0);
    arrive();
    connections[0] = (int)CALL(SYS_accept4, (uint64_t)listening, 0, 0, SOCK_NONBLOCK);
    EQUAL(connections[0] >= 0, true);
}

static void close_all(void) {
    for (unsigned i = 0; i < CONNECTIONS; i++)
        if (connections[i] >= 0)
            EQUAL(CALL(SYS_close, (uint64_t)connections[i]), 0);
    for (int64_t fd; (fd = CALL(SYS_accept4, (uint64_t)listening, 0, 0, 0)) >= 0;)
        CALL(SYS_close, (uint64_t)fd);
    while (tcp_active_pcbs)
        tcp_abort(tcp_active_pcbs);
    while (tcp_tw_pcbs)
        tcp_abort(tcp_tw_pcbs);
    program_reads();
    settle(MS);
    /* Half a datagram waits for its other half for up to 15 s (lwIP's IP_REASS_MAXAGE), an unknown neighbour's packet as long. */
    if (device.held)
        settle(70000 * MS);
    EQUAL(device.held, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static bool started;
    if (!started)
        start();
    started = true;
    input = data;
    input_left = size;
    for (unsigned i = 0; i < CONNECTIONS; i++)
        connections[i] = -1;
    device.checksum = HAL_NET_CHECKSUM_NONE;
    device.pieces = 1;
    connect_peer();
    for (unsigned steps = 0; input_left && steps < STEPS; steps++) {
        unsigned step = next();
        device.pieces = step & 0x80 ? 3 : 1;
        device.checksum = step & 0x40 ? HAL_NET_CHECKSUM_PARTIAL : HAL_NET_CHECKSUM_NONE;
        switch (step % 8) {
        case 0:
            ethernet_frame();
            break;
        case 1:
            ip4_packet();
            break;
        case 2:
            ip6_packet();
            break;
        case 3:
        case 4:
            tcp_segment();
            break;
        case 5:
            change();
            break;
        case 6:
            program_acts();
            settle(MS / 10);
            continue;
        default:
            settle((uint64_t)next() * next() * MS / 4);
            program_reads();
            continue;
        }
        arrive();
        if (step & 0x20)
            program_reads();
    }
    close_all();
    host_clear_output();
    return 0;
}
