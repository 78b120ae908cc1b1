/* Packets of a peer that we write byte by byte: a right one, a silent one, and hostile ones. */
#include "program.h"

#include "lwip/priv/tcp_priv.h"
#include "nano/errno.h"
#include "net/hooks.h"

#define OURS 0x0a00020fu
#define PEER 0x0a000202u
#define QUEUE 64
#define FRAME 2048
#define FIN 1
#define SYN 2
#define RST 4
#define PSH 8
#define ACK 16

static struct hal_net device = {.mac = {0x52, 0x54, 0, 1, 2, 3}, .mtu = 1500, .link_up = true, .receive_buffers = QUEUE};
static struct hal_net_buffer buffers[QUEUE];
static uint8_t memory_of[QUEUE][FRAME];
static bool with_stack[QUEUE];
static enum hal_net_checksum checksum_kind;
static struct hal_net_buffer *incoming[QUEUE];
static unsigned incoming_count;
static uint8_t outgoing[256][FRAME];
static unsigned outgoing_length[256], outgoing_count, outgoing_read;
static void *cookies[256];
static unsigned cookie_count;
static bool interrupts = true;

static int transmit(struct hal_net *net, const struct hal_net_piece *pieces, unsigned count, const struct hal_net_offload *offload, void *cookie,
                    bool more) {
    (void)net;
    (void)offload;
    (void)more;
    if (cookie_count == 256)
        return -HAL_ENOSPC;
    uint8_t *to = outgoing[outgoing_count % 256];
    unsigned length = 0;
    for (unsigned i = 0; i < count; i++) {
        CHECK(length + pieces[i].length <= FRAME);
        memcpy(to + length, pieces[i].data, pieces[i].length);
        length += pieces[i].length;
    }
    outgoing_length[outgoing_count++ % 256] = length;
    cookies[cookie_count++] = cookie;
    return 0;
}
static void flush(struct hal_net *net) {
    (void)net;
}
static void recycle(struct hal_net *net, struct hal_net_buffer *frame) {
    (void)net;
    for (; frame; frame = frame->next) {
        CHECK(with_stack[frame->private_]);
        with_stack[frame->private_] = false;
        memset(memory_of[frame->private_], 0xee, FRAME);
    }
}
static unsigned poll(struct hal_net *net, unsigned budget) {
    unsigned done = 0;
    while (cookie_count)
        net->handler.sent(net->handler.context, cookies[--cookie_count]);
    while (done < budget && done < incoming_count)
        net->handler.received(net->handler.context, incoming[done++], checksum_kind);
    memmove(incoming, incoming + done, (incoming_count - done) * sizeof incoming[0]);
    incoming_count -= done;
    return done;
}
static bool receive_interrupts(struct hal_net *net, bool enable) {
    (void)net;
    interrupts = enable;
    return enable && incoming_count;
}
static const struct hal_net_ops ops = {transmit, flush, recycle, poll, receive_interrupts, NULL};

/* Gives a frame to the stack; `pieces` buffers. Answers false where the stack holds all buffers. */
static bool arrive(const uint8_t *frame, unsigned length, unsigned pieces) {
    struct hal_net_buffer *first = NULL, **end = &first;
    for (unsigned i = 0, at = 0; i < pieces; i++) {
        unsigned index = 0, now = i + 1 == pieces ? length - at : (length - at) / (pieces - i);
        while (index < QUEUE && with_stack[index])
            index++;
        if (index == QUEUE) {
            if (first)
                recycle(&device, first);
            return false;
        }
        with_stack[index] = true;
        memcpy(memory_of[index], frame + at, now);
        buffers[index] = (struct hal_net_buffer){.data = memory_of[index], .length = now, .private_ = index};
        *end = &buffers[index];
        end = &buffers[index].next;
        at += now;
    }
    incoming[incoming_count++] = first;
    if (interrupts && device.handler.interrupt)
        device.handler.interrupt(device.handler.context);
    return true;
}

static void settle(void) {
    host_run_until(hal_clock_monotonic() + MS);
}

static void put16(uint8_t *at, unsigned value) {
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}
static void put32(uint8_t *at, uint32_t value) {
    put16(at, value >> 16);
    put16(at + 2, value & 0xffff);
}
static uint32_t get32(const uint8_t *at) {
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static uint16_t sum_of(const uint8_t *data, unsigned length, uint32_t sum) {
    for (unsigned i = 0; i + 1 < length; i += 2)
        sum += (uint32_t)data[i] << 8 | data[i + 1];
    if (length & 1)
        sum += (uint32_t)data[length - 1] << 8;
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

/* An Ethernet, IPv4 and TCP frame of the peer to our port 80. */
static unsigned tcp_frame(uint8_t *frame, uint16_t port, uint32_t sequence, uint32_t acknowledged, unsigned flags, const void *data, unsigned size) {
    memcpy(frame, device.mac, 6);
    memcpy(frame + 6, "\x52\x55\x0a\x00\x02\x02", 6);
    put16(frame + 12, 0x0800);
    uint8_t *ip = frame + 14, *tcp = ip + 20;
    memset(ip, 0, 40);
    ip[0] = 0x45;
    put16(ip + 2, 40 + size);
    ip[8] = 64;
    ip[9] = 6;
    put32(ip + 12, PEER);
    put32(ip + 16, OURS);
    put16(ip + 10, sum_of(ip, 20, 0));
    put16(tcp, port);
    put16(tcp + 2, 80);
    put32(tcp + 4, sequence);
    put32(tcp + 8, acknowledged);
    tcp[12] = 5 << 4;
    tcp[13] = (uint8_t)flags;
    put16(tcp + 14, 65535);
    memcpy(tcp + 20, data, size);
    uint32_t pseudo = (PEER >> 16) + (PEER & 0xffff) + (OURS >> 16) + (OURS & 0xffff) + 6 + 20 + size;
    put16(tcp + 16, sum_of(tcp, 20 + size, pseudo));
    return 54 + size;
}

/* The next TCP segment that we sent; NULL: none. */
static const uint8_t *segment(unsigned *size) {
    while (outgoing_read < outgoing_count) {
        const uint8_t *frame = outgoing[outgoing_read++ % 256];
        if (frame[12] != 8 || frame[13] != 0 || frame[23] != 6)
            continue;
        const uint8_t *tcp = frame + 34;
        unsigned length = (unsigned)(frame[16] << 8 | frame[17]) - 20;
        uint32_t pseudo = (PEER >> 16) + (PEER & 0xffff) + (OURS >> 16) + (OURS & 0xffff) + 6 + length;
        EQUAL(sum_of(frame + 14, 20, 0), 0);
        EQUAL(sum_of(tcp, length, pseudo), 0);
        *size = length - (unsigned)(tcp[12] >> 4) * 4;
        return tcp;
    }
    return NULL;
}

static void answer_arp(void) {
    uint8_t frame[42];
    memcpy(frame, device.mac, 6);
    memcpy(frame + 6, "\x52\x55\x0a\x00\x02\x02", 6);
    memcpy(frame + 12, "\x08\x06\x00\x01\x08\x00\x06\x04\x00\x02\x52\x55\x0a\x00\x02\x02", 16);
    put32(frame + 28, PEER);
    memcpy(frame + 32, device.mac, 6);
    put32(frame + 38, OURS);
    CHECK(arrive(frame, sizeof frame, 1));
    settle();
}

static int listening;

/* A connection of the peer's port; its next sequence numbers. Answers the accepted descriptor. */
static int handshake(uint16_t port, uint32_t *theirs, uint32_t *ours) {
    uint8_t frame[FRAME];
    unsigned size;
    outgoing_read = outgoing_count;
    CHECK(arrive(frame, tcp_frame(frame, port, 1000, 0, SYN, "", 0), 1));
    settle();
    const uint8_t *tcp = segment(&size);
    CHECK(tcp && (tcp[13] & (SYN | ACK)) == (SYN | ACK));
    EQUAL(get32(tcp + 8), 1001);
    *theirs = 1001;
    *ours = get32(tcp + 4) + 1;
    CHECK(arrive(frame, tcp_frame(frame, port, 1001, *ours, ACK, "", 0), 1));
    settle();
    int fd = (int)CALL(SYS_accept4, (uint64_t)listening, 0, 0, SOCK_NONBLOCK);
    CHECK(fd >= 0);
    return fd;
}

static void first_sequence_numbers_differ(void) {
    uint32_t theirs, first, second, third;
    int a = handshake(2000, &theirs, &first), b = handshake(2001, &theirs, &second), c = handshake(2002, &theirs, &third);
    CHECK(second - first > 100000 || first - second > 100000);
    CHECK(third - second != second - first);
    EQUAL(CALL(SYS_close, (uint64_t)a), 0);
    EQUAL(CALL(SYS_close, (uint64_t)b), 0);
    EQUAL(CALL(SYS_close, (uint64_t)c), 0);
}

static void wrong_checksums_are_dropped_and_vouched_ones_are_not_summed(void) {
    uint8_t frame[FRAME];
    uint32_t theirs, ours;
    int fd = handshake(2010, &theirs, &ours);
    unsigned length = tcp_frame(frame, 2010, theirs, ours, ACK | PSH, "data", 4);
    frame[length - 1] ^= 1;
    checksum_kind = HAL_NET_CHECKSUM_NONE;
    CHECK(arrive(frame, length, 1));
    settle();
    EQUAL(CALL(SYS_recvfrom, (uint64_t)fd, memory, 10, 0), -EAGAIN);
    checksum_kind = HAL_NET_CHECKSUM_PARTIAL;
    CHECK(arrive(frame, length, 1));
    settle();
    checksum_kind = HAL_NET_CHECKSUM_NONE;
    expect(fd, 10, 0, "dat`");
    EQUAL(CALL(SYS_close, (uint64_t)fd), 0);
}

static void a_lost_segment_is_sent_again(void) {
    uint32_t theirs, ours;
    unsigned size, seen = 0;
    int fd = handshake(2020, &theirs, &ours);
    EQUAL(send_text(fd, "lost", 0), 4);
    host_run_until(hal_clock_monotonic() + 8000 * MS);
    for (const uint8_t *tcp; (tcp = segment(&size));)
        seen += size == 4 && get32(tcp + 4) == ours && memcmp(tcp + 20, "lost", 4) == 0;
    CHECK(seen >= 3);
    EQUAL(CALL(SYS_close, (uint64_t)fd), 0);
}

static void segments_out_of_order_are_put_in_order(void) {
    uint8_t frame[FRAME], data[1400];
    uint32_t theirs, ours;
    int fd = handshake(2030, &theirs, &ours);
    memset(data, 'z', sizeof data);
    CHECK(arrive(frame, tcp_frame(frame, 2030, theirs + 3, ours, ACK, data, sizeof data), 2));
    settle();
    EQUAL(CALL(SYS_recvfrom, (uint64_t)fd, memory, 10, 0), -EAGAIN);
    CHECK(arrive(frame, tcp_frame(frame, 2030, theirs, ours, ACK, "abc", 3), 1));
    settle();
    expect(fd, 5, 0, "abczz");
    EQUAL(CALL(SYS_recvfrom, (uint64_t)fd, memory, 5000, 0), 1398);
    EQUAL(CALL(SYS_close, (uint64_t)fd), 0);
}

static void what_is_not_read_leaves_buffers_to_the_device(void) {
    uint8_t frame[FRAME], data[1400] = {0};
    uint32_t theirs, ours;
    int fd = handshake(2040, &theirs, &ours);
    for (unsigned i = 0; i < 100; i++) {
        CHECK(arrive(frame, tcp_frame(frame, 2040, theirs, ours, ACK, data, sizeof data), 1));
        theirs += sizeof data;
        settle();
    }
    unsigned held = 0;
    for (unsigned i = 0; i < QUEUE; i++)
        held += with_stack[i];
    CHECK(held > 0 && held <= QUEUE / 2);
    int64_t total = 0, now;
    while ((now = CALL(SYS_recvfrom, (uint64_t)fd, memory, 100000, 0)) > 0)
        total += now;
    CHECK(total >= 65535 - 1460); /* the window of a peer that does not scale */
    held = 0;
    for (unsigned i = 0; i < QUEUE; i++)
        held += with_stack[i];
    EQUAL(held, 0);
    EQUAL(CALL(SYS_close, (uint64_t)fd), 0);
}

/* Valid frames of several kinds with random bytes changed, cut and repeated: nothing may happen but drops. */
static void hostile_frames(void) {
    static const char *const seeds[] = {
        /* IPv4 fragment, IPv4 UDP, ICMP echo, ARP request, IPv6 with a fragment header, ICMPv6 neighbour solicitation. */
        "\x08\x00\x45\x00\x00\x3c\x12\x34\x20\x00\x40\x11\x00\x00\x0a\x00\x02\x02\x0a\x00\x02\x0f\x12\x34\x00\x50\x00\x28\x00\x00",
        "\x08\x00\x45\x00\x00\x30\x12\x34\x00\x00\x40\x11\x00\x00\x0a\x00\x02\x02\x0a\x00\x02\x0f\x00\x43\x00\x44\x00\x1c\x00\x00",
        "\x08\x00\x45\x00\x00\x30\x12\x34\x00\x00\x40\x01\x00\x00\x0a\x00\x02\x02\x0a\x00\x02\x0f\x08\x00\x00\x00\x00\x01\x00\x01",
        "\x08\x06\x00\x01\x08\x00\x06\x04\x00\x01\x52\x55\x0a\x00\x02\x02\x0a\x00\x02\x02\x00\x00\x00\x00\x00\x00\x0a\x00\x02\x0f",
        "\x86\xdd\x60\x00\x00\x00\x00\x18\x2c\x40\xfe\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\xfe\x80\x00\x00",
        "\x86\xdd\x60\x00\x00\x00\x00\x18\x3a\xff\xfe\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\xff\x02\x00\x00",
    };
    uint8_t frame[FRAME];
    host_seed(7);
    for (unsigned round = 0; round < 60000; round++) {
        uint64_t random = random_u64();
        unsigned kind = random % 8, length;
        if (kind < 6) {
            memset(frame, 0, sizeof frame);
            memcpy(frame, device.mac, 6);
            memcpy(frame + 6, "\x52\x55\x0a\x00\x02\x02", 6);
            memcpy(frame + 12, seeds[kind], 30);
            length = 60 + (unsigned)(random >> 8) % 100;
            put16(frame + 24, 0);
            if (frame[12] == 8 && frame[13] == 0)
                put16(frame + 24, sum_of(frame + 14, 20, 0));
        } else {
            unsigned flags = (unsigned)(random >> 16) & 0x3f;
            length = tcp_frame(frame, (uint16_t)(2100 + (random >> 24) % 8), (uint32_t)(1000 + (random >> 32) % 4), 0, flags, "payload", 7);
        }
        for (unsigned i = (unsigned)(random >> 40) % 4; i > 0; i--) {
            uint64_t change = random_u64();
            frame[12 + change % (length - 12)] ^= (uint8_t)(change >> 32);
        }
        if ((random >> 48) % 8 == 0)
            length = 14 + (unsigned)(random >> 52) % (length - 13);
        checksum_kind = (random >> 60) & 1 ? HAL_NET_CHECKSUM_VALID : HAL_NET_CHECKSUM_NONE;
        arrive(frame, length, (random >> 61) % 4 ? 1 : 2);
        if (round % 16 == 0)
            settle();
    }
    checksum_kind = HAL_NET_CHECKSUM_NONE;
    /* Half-open and half-assembled things are forgotten; nothing holds a buffer for ever. */
    host_run_until(hal_clock_monotonic() + 200000 * MS);
    for (int64_t fd; (fd = CALL(SYS_accept4, (uint64_t)listening, 0, 0, 0)) >= 0;)
        EQUAL(CALL(SYS_close, (uint64_t)fd), 0);
    host_run_until(hal_clock_monotonic() + 3000000 * MS); /* a FIN that nobody acknowledges is given up */
    for (unsigned i = 0; i < QUEUE; i++)
        CHECK(!with_stack[i]);
    CHECK(!tcp_active_pcbs && !tcp_tw_pcbs);
}

static void a_flood_of_first_packets_is_bounded(void) {
    uint8_t frame[FRAME];
    for (unsigned i = 0; i < 2000; i++) {
        CHECK(arrive(frame, tcp_frame(frame, (uint16_t)(10000 + i), 5, 0, SYN, "", 0), 1));
        settle();
    }
    unsigned half_open = 0;
    for (struct tcp_pcb *at = tcp_active_pcbs; at; at = at->next)
        half_open++;
    CHECK(half_open > 200 && half_open < 256);
    host_run_until(hal_clock_monotonic() + 60000 * MS);
    CHECK(!tcp_active_pcbs);
}

static void checksums_agree_with_the_definition(void) {
    uint8_t data[300];
    for (unsigned i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)random_u64();
    for (unsigned start = 0; start < 16; start++)
        for (unsigned length = 0; length < 256; length++) {
            uint16_t got = net_checksum(data + start, (int)length);
            uint16_t wanted = (uint16_t)~sum_of(data + start, length, 0);
            CHECK((uint16_t)(got << 8 | got >> 8) == wanted);
        }
    memset(data, 0xff, sizeof data);
    EQUAL(net_checksum(data, 256), 0xffff);
}

int main(void) {
    static const char settings[] = "schema=1\0program=/bin/x\0hostname=host\0net=static,10.0.2.15/24,10.0.2.2,10.0.2.3";
    host_start((size_t)64 << 20);
    host_seed(3);
    device.ops = &ops;
    hal_net_register(&device);
    start_machine(settings, sizeof settings);
    listening = (int)CALL(SYS_socket, AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    EQUAL(CALL(SYS_bind, (uint64_t)listening, address4(INADDR_ANY, 80), 16), 0);
    EQUAL(CALL(SYS_listen, (uint64_t)listening, 512), 0);
    answer_arp();
    checksums_agree_with_the_definition();
    first_sequence_numbers_differ();
    wrong_checksums_are_dropped_and_vouched_ones_are_not_summed();
    a_lost_segment_is_sent_again();
    segments_out_of_order_are_put_in_order();
    what_is_not_read_leaves_buffers_to_the_device();
    hostile_frames();
    a_flood_of_first_packets_is_bounded();
    return 0;
}
