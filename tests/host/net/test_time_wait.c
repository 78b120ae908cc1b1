/* A peer that comes again from the same port while its last connection is in TIME_WAIT (RFC 1122, 4.2.2.13), over IPv4 and
 * IPv6. */
#include <stdlib.h>

#include "host_net.h"
#include "peer.h"
#include "program.h"

#include "lwip/priv/tcp_priv.h"

#define FRAME 256
#define PEER6 "\xfd\x00\x00\x02\0\0\0\0\0\0\0\0\0\0\0\x02"
#define OURS6 "\xfd\x00\x00\x02\0\0\0\0\0\0\0\0\0\0\0\x15"

static struct host_wire wire;
static struct host_net device;
static int listening;

static void arrive(const uint8_t *frame, unsigned length) {
    CHECK(host_wire_put(&wire, frame, length));
    host_net_arrive();
    host_run_until(hal_clock_monotonic() + MS);
}

/* The sum of the pseudo-header (RFC 8200, 8.1). */
static uint32_t pseudo6(unsigned protocol, unsigned length) {
    const uint8_t addresses[] = PEER6 OURS6;
    return (uint16_t)~sum_of(addresses, 32, 0) + protocol + length;
}

/* Ethernet's and IPv6's headers (RFC 8200, 3) before `size` bytes. The bytes of both: 54. */
static unsigned ip6_frame(uint8_t *frame, unsigned protocol, unsigned hops, unsigned size) {
    memcpy(frame, OUR_MAC PEER_MAC "\x86\xdd\x60\0\0\0", 18);
    put16(frame + 18, size);
    frame[20] = (uint8_t)protocol;
    frame[21] = (uint8_t)hops;
    memcpy(frame + 22, PEER6 OURS6, 32);
    return 54;
}

/* The peer asks for our hardware's address and tells its own (RFC 4861, 4.3). */
static void ask_for_neighbour(void) {
    uint8_t frame[FRAME];
    uint8_t *icmp = frame + ip6_frame(frame, 58, 255, 32);
    memset(icmp, 0, 32);
    icmp[0] = 135;
    memcpy(icmp + 8, OURS6, 16);
    memcpy(icmp + 24, "\x01\x01" PEER_MAC, 8);
    put16(icmp + 2, sum_of(icmp, 32, pseudo6(58, 32)));
    arrive(frame, 54 + 32);
}

static void send_segment(bool six, uint16_t port, uint32_t sequence, uint32_t acknowledged, unsigned flags) {
    uint8_t frame[FRAME], six_frame[FRAME];
    unsigned length = tcp_frame(frame, port, sequence, acknowledged, flags, "", 0);
    if (!six) {
        arrive(frame, length);
        return;
    }
    uint8_t *tcp = six_frame + ip6_frame(six_frame, 6, 64, 20);
    memcpy(tcp, frame + 34, 20);
    put16(tcp + 16, 0);
    put16(tcp + 16, sum_of(tcp, 20, pseudo6(6, 20)));
    arrive(six_frame, 54 + 20);
}

/* The flags of the next segment of ours, and its numbers; 0: none. */
static unsigned next_segment(bool six, uint32_t *sequence, uint32_t *acknowledged) {
    struct host_frame *frame;
    unsigned flags = 0;
    while (flags == 0 && (frame = host_wire_take(&wire))) {
        unsigned at = six ? 54 : 34;
        if (six ? frame->bytes[12] == 0x86 && frame->bytes[20] == 6 : frame->bytes[12] == 8 && frame->bytes[13] == 0 && frame->bytes[23] == 6) {
            flags = frame->bytes[at + 13];
            *sequence = get32(frame->bytes + at + 4);
            *acknowledged = get32(frame->bytes + at + 8);
        }
        free(frame);
    }
    return flags;
}

/* A connection of the peer's port whose first number is `begin`; we close it first, and are left with it in TIME_WAIT. The
 * number after the last of the peer's. */
static uint32_t connect_and_close(bool six, uint16_t port, uint32_t begin) {
    uint32_t ours, theirs;
    send_segment(six, port, begin, 0, SYN);
    EQUAL(next_segment(six, &ours, &theirs), SYN | ACK);
    EQUAL(theirs, begin + 1);
    send_segment(six, port, begin + 1, ours + 1, ACK);
    int fd = (int)CALL(SYS_accept4, (uint64_t)listening, 0, 0, SOCK_NONBLOCK);
    CHECK(fd >= 0);
    EQUAL(CALL(SYS_close, (uint64_t)fd), 0);
    host_run_until(hal_clock_monotonic() + MS);
    EQUAL(next_segment(six, &ours, &theirs), FIN | ACK);
    send_segment(six, port, begin + 1, ours + 1, FIN | ACK);
    EQUAL(next_segment(six, &ours, &theirs), ACK);
    CHECK(tcp_tw_pcbs && tcp_tw_pcbs->remote_port == port && !tcp_active_pcbs);
    return begin + 2;
}

static void a_syn_beyond_what_was_received_begins_a_connection(bool six) {
    uint32_t ours, theirs, after = connect_and_close(six, 3000, 1000);
    for (unsigned i = 0; i < 3; i++)
        after = connect_and_close(six, 3000, after + 1);
    send_segment(six, 3000, after + 1, 0, SYN);
    EQUAL(next_segment(six, &ours, &theirs), SYN | ACK);
    send_segment(six, 3000, after + 2, 0, RST);
}

static void an_old_syn_begins_none(bool six) {
    uint32_t ours, theirs, after = connect_and_close(six, 3001, 1000);
    send_segment(six, 3001, after - 1, 0, SYN);
    CHECK((next_segment(six, &ours, &theirs) & SYN) == 0);
    CHECK(!tcp_active_pcbs);
}

static void a_syn_ends_no_time_wait_of_another(bool six) {
    const uint16_t port = six ? 3006 : 3004;
    connect_and_close(six, port, 1000);
    unsigned before = 0, behind = 0;
    for (struct tcp_pcb *pcb = tcp_tw_pcbs; pcb; pcb = pcb->next)
        before++;
    send_segment(!six, port, 500000, 0, SYN);
    send_segment(!six, port, 500001, 0, RST);
    send_segment(six, port + 1, 500000, 0, SYN);
    send_segment(six, port + 1, 500001, 0, RST);
    for (struct tcp_pcb *pcb = tcp_tw_pcbs; pcb; pcb = pcb->next)
        behind++;
    EQUAL(behind, before);
    while (host_wire_take(&wire))
        ;
}

int main(void) {
    static const char settings[] = "schema=1\0program=/bin/x\0hostname=host\0net=static,10.0.2.15/24,10.0.2.2,10.0.2.3\0"
                                   "net6=static,fd00:2::15/64,fd00:2::2,";
    uint8_t frame[FRAME];
    host_start((size_t)64 << 20);
    host_seed(3);
    host_wire_create(&wire);
    host_net_create(&device, &wire.link);
    start_machine(settings, sizeof settings);
    struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons(80)};
    EQUAL(copy_to_user(memory, &any, sizeof any), 0);
    listening = (int)CALL(SYS_socket, AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0);
    EQUAL(CALL(SYS_bind, (uint64_t)listening, memory, sizeof any), 0);
    EQUAL(CALL(SYS_listen, (uint64_t)listening, 512), 0);
    arrive(frame, arp_frame(frame));
    ask_for_neighbour();
    for (unsigned six = 0; six < 2; six++) {
        a_syn_beyond_what_was_received_begins_a_connection(six);
        an_old_syn_begins_none(six);
        a_syn_ends_no_time_wait_of_another(six);
    }
    return 0;
}
