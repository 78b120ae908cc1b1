/* Packets of a peer that we write byte by byte: a right one, a silent one, and hostile ones. */
#include <sys/wait.h>
#include <unistd.h>

#include "host_net.h"
#include "peer.h"
#include "program.h"

#include "lwip/priv/tcp_priv.h"
#include "nano/errno.h"
#include "net/hooks.h"

#define FRAME 2048

static struct host_wire wire;
static struct host_net device;

/* Gives a frame to the stack in so many buffers. Answers false where the stack holds all buffers. */
static bool arrive(const uint8_t *frame, unsigned length, unsigned pieces) {
    unsigned lost = device.lost;
    device.pieces = pieces;
    CHECK(host_wire_put(&wire, frame, length));
    host_net_arrive();
    return device.lost == lost;
}

static void settle(void) {
    host_run_until(hal_clock_monotonic() + MS);
}

/* The next TCP segment that we sent, which stays until the next call; NULL: none. */
static const uint8_t *segment(unsigned *size) {
    static struct host_frame *frame;
    for (;;) {
        free(frame);
        frame = host_wire_take(&wire);
        if (!frame)
            return NULL;
        const uint8_t *tcp = tcp_of(frame->bytes, size);
        CHECK(tcp || frame->bytes[12] != 8 || frame->bytes[13] != 0 || frame->bytes[23] != 6);
        if (tcp)
            return tcp;
    }
}

static void forget_sent(void) {
    unsigned size;
    while (segment(&size))
        ;
}

static void answer_arp(void) {
    uint8_t frame[42];
    CHECK(arrive(frame, arp_frame(frame), 1));
    settle();
}

static int listening;

/* A connection of the peer's port; its next sequence numbers. Answers the accepted descriptor. */
static int handshake(uint16_t port, uint32_t *theirs, uint32_t *ours) {
    uint8_t frame[FRAME];
    unsigned size;
    forget_sent();
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

/* RFC 6528: the clock plus a keyed hash. One connection's numbers grow with the clock; who knows one knows no other. */
static void first_sequence_numbers_are_a_keyed_hash_and_the_clock(void) {
    const ip_addr_t ours = IPADDR4_INIT_BYTES(10, 0, 2, 15), peer = IPADDR4_INIT_BYTES(10, 0, 2, 2), other = IPADDR4_INIT_BYTES(10, 0, 2, 3);
    uint32_t first = net_tcp_isn(&ours, 80, &peer, 2000);
    EQUAL(net_tcp_isn(&ours, 80, &peer, 2000), first);
    host_advance(4096 * 1000);
    EQUAL((uint32_t)(net_tcp_isn(&ours, 80, &peer, 2000) - first), 1000);
    uint32_t before = net_tcp_isn(&ours, 80, &peer, 2001), differences[4];
    for (uint16_t i = 0; i < 4; i++) {
        uint32_t now = net_tcp_isn(&ours, 80, &peer, (uint16_t)(2002 + i));
        differences[i] = now - before;
        before = now;
        for (unsigned k = 0; k < i; k++)
            CHECK(differences[k] != differences[i]);
    }
    CHECK(net_tcp_isn(&ours, 81, &peer, 2000) - first > 100000);
    CHECK(net_tcp_isn(&ours, 80, &other, 2000) - first > 100000);
}

/* The first number that a machine of another seed gives to the same connection: told by a child process. */
static uint32_t first_number_of_seed(uint64_t seed) {
    int ends[2], status;
    uint32_t number = 0;
    CHECK(pipe(ends) == 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        const ip_addr_t address = IPADDR4_INIT_BYTES(10, 0, 2, 2);
        host_start((size_t)16 << 20);
        host_seed(seed);
        random_init();
        number = net_tcp_isn(&address, 1, &address, 2);
        _exit(write(ends[1], &number, sizeof number) == sizeof number ? 0 : 1);
    }
    CHECK(read(ends[0], &number, sizeof number) == sizeof number);
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    close(ends[0]);
    close(ends[1]);
    return number;
}

static void first_sequence_numbers_differ_from_start_to_start(void) {
    uint32_t one = first_number_of_seed(1);
    EQUAL(first_number_of_seed(1), one);
    CHECK(first_number_of_seed(2) - one > 100000);
}

static void the_window_is_208_kib_by_scaling(void) {
    static const uint8_t options[] = {2, 4, 5, 180, 4, 2, 1, 1, 3, 3, 7, 0}; /* MSS 1460, SACK, a window scaled by 7 */
    uint8_t frame[FRAME];
    unsigned size, scale = 99, mss = 0, sack = 0;
    forget_sent();
    CHECK(arrive(frame, tcp_frame_to(frame, 2008, 80, 1000, 0, SYN, 65535, options, sizeof options, "", 0), 1));
    settle();
    const uint8_t *tcp = segment(&size);
    CHECK(tcp && (tcp[13] & (SYN | ACK)) == (SYN | ACK));
    uint32_t next = get32(tcp + 4) + 1;
    for (unsigned at = 20, end = (tcp[12] >> 4) * 4u; at < end && tcp[at] != 0; at += tcp[at] == 1 ? 1 : tcp[at + 1]) {
        scale = tcp[at] == 3 ? tcp[at + 2] : scale;
        mss = tcp[at] == 2 ? (unsigned)(tcp[at + 2] << 8 | tcp[at + 3]) : mss;
        sack |= tcp[at] == 4;
    }
    EQUAL(scale, 2);
    EQUAL(mss, 1460);
    EQUAL(sack, 1);
    CHECK(arrive(frame, tcp_frame(frame, 2008, 1001, next, ACK | PSH, "x", 1), 1));
    host_run_until(hal_clock_monotonic() + 500 * MS);
    tcp = segment(&size);
    CHECK(tcp && get32(tcp + 8) == 1002);
    CHECK(((unsigned)(tcp[14] << 8 | tcp[15]) << scale) + 1 + (1 << scale) > 208 * 1024);
    int fd = (int)CALL(SYS_accept4, (uint64_t)listening, 0, 0, SOCK_NONBLOCK);
    EQUAL(CALL(SYS_close, (uint64_t)fd), 0);
}

static void a_single_segment_is_acknowledged_late_and_two_at_once(void) {
    uint8_t frame[FRAME], data[1000] = {0};
    uint32_t theirs, ours;
    unsigned size;
    int fd = handshake(2015, &theirs, &ours);
    CHECK(arrive(frame, tcp_frame(frame, 2015, theirs, ours, ACK, data, sizeof data), 1));
    settle();
    CHECK(!segment(&size));
    host_run_until(hal_clock_monotonic() + 200 * MS);
    const uint8_t *tcp = segment(&size);
    CHECK(tcp && get32(tcp + 8) == theirs + 1000 && size == 0);
    for (unsigned i = 1; i < 3; i++)
        CHECK(arrive(frame, tcp_frame(frame, 2015, theirs + 1000 * i, ours, ACK, data, sizeof data), 1));
    settle();
    tcp = segment(&size);
    CHECK(tcp && get32(tcp + 8) == theirs + 3000);
    EQUAL(CALL(SYS_close, (uint64_t)fd), 0);
}

static void small_writes_wait_for_an_acknowledgement_unless_nodelay_is_set(void) {
    uint32_t theirs, ours;
    unsigned size;
    for (int no_delay = 0; no_delay < 2; no_delay++) {
        int fd = handshake((uint16_t)(2016 + no_delay), &theirs, &ours);
        EQUAL(set_option(fd, IPPROTO_TCP, TCP_NODELAY, no_delay), 0);
        forget_sent();
        EQUAL(send_text(fd, "one", 0), 3);
        EQUAL(send_text(fd, "two", 0), 3);
        settle();
        const uint8_t *tcp = segment(&size);
        CHECK(tcp && size == 3 && memcmp(tcp + 20, "one", 3) == 0);
        tcp = segment(&size);
        CHECK(no_delay ? tcp && size == 3 && memcmp(tcp + 20, "two", 3) == 0 : !tcp);
        EQUAL(CALL(SYS_close, (uint64_t)fd), 0);
    }
}

static void wrong_checksums_are_dropped_and_vouched_ones_are_not_summed(void) {
    uint8_t frame[FRAME];
    uint32_t theirs, ours;
    int fd = handshake(2010, &theirs, &ours);
    unsigned length = tcp_frame(frame, 2010, theirs, ours, ACK | PSH, "data", 4);
    frame[length - 1] ^= 1;
    device.checksum = HAL_NET_CHECKSUM_NONE;
    CHECK(arrive(frame, length, 1));
    settle();
    EQUAL(CALL(SYS_recvfrom, (uint64_t)fd, memory, 10, 0), -EAGAIN);
    device.checksum = HAL_NET_CHECKSUM_PARTIAL;
    CHECK(arrive(frame, length, 1));
    settle();
    device.checksum = HAL_NET_CHECKSUM_NONE;
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
    CHECK(device.held > 0 && device.held <= HOST_NET_BUFFERS / 2);
    int64_t total = 0, now;
    while ((now = CALL(SYS_recvfrom, (uint64_t)fd, memory, 100000, 0)) > 0)
        total += now;
    CHECK(total >= 65535 - 1460); /* the window of a peer that does not scale */
    EQUAL(device.held, 0);
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
            memcpy(frame, OUR_MAC, 6);
            memcpy(frame + 6, PEER_MAC, 6);
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
        device.checksum = (random >> 60) & 1 ? HAL_NET_CHECKSUM_VALID : HAL_NET_CHECKSUM_NONE;
        arrive(frame, length, (random >> 61) % 4 ? 1 : 2);
        if (round % 16 == 0)
            settle();
    }
    device.checksum = HAL_NET_CHECKSUM_NONE;
    /* Half-open and half-assembled things are forgotten; nothing holds a buffer for ever. */
    host_run_until(hal_clock_monotonic() + 200000 * MS);
    for (int64_t fd; (fd = CALL(SYS_accept4, (uint64_t)listening, 0, 0, 0)) >= 0;)
        EQUAL(CALL(SYS_close, (uint64_t)fd), 0);
    host_run_until(hal_clock_monotonic() + 3000000 * MS); /* a FIN that nobody acknowledges is given up */
    EQUAL(device.held, 0);
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
    first_sequence_numbers_differ_from_start_to_start();
    host_start((size_t)64 << 20);
    host_seed(3);
    host_wire_create(&wire);
    host_net_create(&device, &wire.link);
    start_machine(settings, sizeof settings);
    listening = (int)CALL(SYS_socket, AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    EQUAL(CALL(SYS_bind, (uint64_t)listening, address4(INADDR_ANY, 80), 16), 0);
    EQUAL(CALL(SYS_listen, (uint64_t)listening, 512), 0);
    answer_arp();
    checksums_agree_with_the_definition();
    first_sequence_numbers_differ();
    first_sequence_numbers_are_a_keyed_hash_and_the_clock();
    the_window_is_208_kib_by_scaling();
    a_single_segment_is_acknowledged_late_and_two_at_once();
    small_writes_wait_for_an_acknowledgement_unless_nodelay_is_set();
    wrong_checksums_are_dropped_and_vouched_ones_are_not_summed();
    a_lost_segment_is_sent_again();
    segments_out_of_order_are_put_in_order();
    what_is_not_read_leaves_buffers_to_the_device();
    hostile_frames();
    a_flood_of_first_packets_is_bounded();
    return 0;
}
