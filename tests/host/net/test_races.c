/* What another thread does to a socket while a copy from the program's memory waits for a disk. */
#include "program.h"

#include "../nano/blocking.h"
#include "lwip/priv/tcp_priv.h"

#define PORT 5000

static int client, server, listening;

static int stream(void) {
    int fd = (int)CALL(SYS_socket, AF_INET, SOCK_STREAM, 0);
    CHECK(fd >= 0);
    return fd;
}

static void connect_both(void) {
    listening = stream();
    EQUAL(set_option(listening, SOL_SOCKET, SO_REUSEADDR, 1), 0);
    EQUAL(CALL(SYS_bind, (uint64_t)listening, address4(INADDR_LOOPBACK, PORT), 16), 0);
    EQUAL(CALL(SYS_listen, (uint64_t)listening, 8), 0);
    client = stream();
    EQUAL(CALL(SYS_connect, (uint64_t)client, address4(INADDR_LOOPBACK, PORT), 16), 0);
    server = (int)CALL(SYS_accept4, (uint64_t)listening, 0, 0, SOCK_NONBLOCK);
    CHECK(server >= 0);
}

static void close_all(void) {
    EQUAL(CALL(SYS_close, (uint64_t)client), 0);
    EQUAL(CALL(SYS_close, (uint64_t)server), 0);
    EQUAL(CALL(SYS_close, (uint64_t)listening), 0);
    while (tcp_tw_pcbs)
        tcp_abort(tcp_tw_pcbs);
}

static void reset(void) {
    uint16_t unspecified = AF_UNSPEC;
    EQUAL(copy_to_user(memory, &unspecified, sizeof unspecified), 0);
    EQUAL(CALL(SYS_connect, (uint64_t)client, memory, sizeof unspecified), 0);
}

static void reset_and_listen(void) {
    reset();
    EQUAL(CALL(SYS_listen, (uint64_t)client, 8), 0);
}

/* A segment with the bytes must go neither to a listener's pcb, which has no room for a queue, nor to one without a peer. */
static void a_connection_that_is_reset_while_bytes_are_read_takes_none(void (*change)(void)) {
    connect_both();
    meanwhile = change;
    EQUAL(CALL(SYS_sendto, (uint64_t)client, blocking_memory(4096), 1000, MSG_NOSIGNAL), -EPIPE);
    CHECK(!meanwhile);
    host_run_until(hal_clock_monotonic() + MS);
    EQUAL(CALL(SYS_recvfrom, (uint64_t)server, memory, 1000, 0), -ECONNRESET);
    close_all();
}

/* The same behind bytes that wait for more. */
static void so_does_one_that_fills_a_segment_up(void (*change)(void)) {
    connect_both();
    EQUAL(CALL(SYS_sendto, (uint64_t)client, memory, 10, MSG_MORE), 10);
    meanwhile = change;
    EQUAL(CALL(SYS_sendto, (uint64_t)client, blocking_memory(4096), 10, MSG_NOSIGNAL | MSG_MORE), -EPIPE);
    CHECK(!meanwhile);
    close_all();
}

int main(void) {
    static const char settings[] = "schema=1\0program=/bin/x\0hostname=host";
    host_start((size_t)64 << 20);
    start_machine(settings, sizeof settings);
    a_connection_that_is_reset_while_bytes_are_read_takes_none(reset);
    a_connection_that_is_reset_while_bytes_are_read_takes_none(reset_and_listen);
    so_does_one_that_fills_a_segment_up(reset);
    so_does_one_that_fills_a_segment_up(reset_and_listen);
    return 0;
}
