/* Sockets over the loopback device, call by call as Linux answers them. */
#include "program.h"

#include <sys/epoll.h>

#include "lwip/priv/tcp_priv.h"
#include "nano/errno.h"
#include "nano/file.h"

#define LOCALHOST INADDR_LOOPBACK

static int stream(void) {
    int fd = (int)CALL(SYS_socket, AF_INET, SOCK_STREAM, 0);
    CHECK(fd >= 0);
    return fd;
}

static int listener(uint16_t port, int backlog) {
    int fd = stream();
    EQUAL(set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1), 0);
    EQUAL(CALL(SYS_bind, (uint64_t)fd, address4(INADDR_ANY, port), 16), 0);
    EQUAL(CALL(SYS_listen, (uint64_t)fd, (uint64_t)backlog), 0);
    return fd;
}

static uint16_t port_of(int fd, uint64_t which) {
    struct sockaddr_in in;
    int size = sizeof in;
    EQUAL(copy_to_user(memory + 64, &size, sizeof size), 0);
    EQUAL(CALL(which, (uint64_t)fd, memory + 128, memory + 64), 0);
    EQUAL(copy_from_user(&in, memory + 128, sizeof in), 0);
    EQUAL(in.sin_family, AF_INET);
    return ntohs(in.sin_port);
}

static void close_fd(int fd) {
    EQUAL(CALL(SYS_close, (uint64_t)fd), 0);
}

/* A connected pair: *client and the answer. */
static int pair(int *client, int listening, uint16_t port) {
    *client = stream();
    EQUAL(CALL(SYS_connect, (uint64_t)*client, address4(LOCALHOST, port), 16), 0);
    int server = (int)CALL(SYS_accept4, (uint64_t)listening, 0, 0, 0);
    CHECK(server >= 0);
    return server;
}

static unsigned events_of(int fd) {
    struct file *file = fd_get((uint64_t)fd);
    CHECK(file);
    unsigned events = file_poll(file);
    file_put(file);
    return events;
}

static void arguments_are_checked(void) {
    EQUAL(CALL(SYS_socket, AF_UNIX, SOCK_STREAM, 0), -EAFNOSUPPORT);
    EQUAL(CALL(SYS_socket, AF_INET, 77, 0), -EINVAL);
    EQUAL(CALL(SYS_socket, AF_INET, SOCK_STREAM, IPPROTO_UDP), -EPROTONOSUPPORT);
    EQUAL(CALL(SYS_bind, 999, memory, 16), -EBADF);
    EQUAL(CALL(SYS_pipe2, memory, 0), 0);
    int fds[2];
    EQUAL(copy_from_user(fds, memory, sizeof fds), 0);
    EQUAL(CALL(SYS_listen, (uint64_t)fds[0], 1), -ENOTSOCK);
    close_fd(fds[0]);
    close_fd(fds[1]);
    int fd = stream();
    EQUAL(CALL(SYS_bind, (uint64_t)fd, address4(INADDR_ANY, 1), 15), -EINVAL);
    EQUAL(CALL(SYS_bind, (uint64_t)fd, 8, 16), -EFAULT);
    EQUAL(CALL(SYS_bind, (uint64_t)fd, address4(0x08080808, 1), 16), -EADDRNOTAVAIL);
    struct sockaddr_in6 six = {.sin6_family = AF_INET6};
    EQUAL(copy_to_user(memory, &six, sizeof six), 0);
    EQUAL(CALL(SYS_bind, (uint64_t)fd, memory, sizeof six), -EAFNOSUPPORT);
    EQUAL(CALL(SYS_accept4, (uint64_t)fd, 0, 0, 0), -EINVAL);
    EQUAL(CALL(SYS_shutdown, (uint64_t)fd, 2), -ENOTCONN);
    EQUAL(CALL(SYS_shutdown, (uint64_t)fd, 7), -EINVAL);
    EQUAL(CALL(SYS_recvfrom, (uint64_t)fd, memory, 1, 0), -ENOTCONN);
    EQUAL(CALL(SYS_sendto, (uint64_t)fd, memory, 1, MSG_NOSIGNAL), -EPIPE);
    EQUAL(CALL(SYS_getpeername, (uint64_t)fd, memory, memory + 64), -ENOTCONN);
    EQUAL(events_of(fd), POLLOUT | POLLWRNORM | POLLHUP);
    close_fd(fd);
}

static void nobody_listens(void) {
    int fd = stream();
    EQUAL(CALL(SYS_connect, (uint64_t)fd, address4(LOCALHOST, 4999), 16), -ECONNREFUSED);
    EQUAL(option(fd, SOL_SOCKET, SO_ERROR), 0);
    close_fd(fd);
    fd = (int)CALL(SYS_socket, AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    EQUAL(CALL(SYS_connect, (uint64_t)fd, address4(LOCALHOST, 4999), 16), -EINPROGRESS);
    EQUAL(CALL(SYS_connect, (uint64_t)fd, address4(LOCALHOST, 4999), 16), -EALREADY);
    host_run_until(hal_clock_monotonic() + 5 * MS);
    CHECK(events_of(fd) & POLLERR);
    EQUAL(option(fd, SOL_SOCKET, SO_ERROR), ECONNREFUSED);
    EQUAL(option(fd, SOL_SOCKET, SO_ERROR), 0);
    close_fd(fd);
}

static void bytes_go_both_ways(void) {
    int listening = listener(5000, 8), client, server;
    EQUAL(option(listening, SOL_SOCKET, SO_ACCEPTCONN), 1);
    EQUAL(events_of(listening), 0);
    server = pair(&client, listening, 5000);
    CHECK(port_of(client, SYS_getsockname) >= 32768);
    EQUAL(port_of(client, SYS_getpeername), 5000);
    EQUAL(port_of(server, SYS_getpeername), port_of(client, SYS_getsockname));
    EQUAL(CALL(SYS_connect, (uint64_t)client, address4(LOCALHOST, 5000), 16), -EISCONN);
    EQUAL(events_of(client), POLLOUT | POLLWRNORM);
    EQUAL(CALL(SYS_recvfrom, (uint64_t)server, memory, 1, MSG_DONTWAIT), -EAGAIN);
    EQUAL(send_text(client, "hello", 0), 5);
    expect(server, 3, MSG_PEEK, "hel");
    expect(server, 3, 0, "hel");
    int waiting = 0;
    EQUAL(CALL(SYS_ioctl, (uint64_t)server, FIONREAD, memory), 0);
    EQUAL(copy_from_user(&waiting, memory, sizeof waiting), 0);
    EQUAL(waiting, 2);
    /* A fault loses nothing. */
    EQUAL(CALL(SYS_recvfrom, (uint64_t)server, 64, 2, 0), -EFAULT);
    EQUAL(CALL(SYS_sendto, (uint64_t)server, 64, 2, 0), -EFAULT);
    expect(server, 100, 0, "lo");
    EQUAL(send_text(server, "world", MSG_MORE), 5);
    EQUAL(CALL(SYS_recvfrom, (uint64_t)client, memory, 1, MSG_DONTWAIT), -EAGAIN);
    EQUAL(send_text(server, "!", 0), 1);
    expect(client, 100, 0, "world!");
    EQUAL(set_option(server, IPPROTO_TCP, TCP_CORK, 1), 0);
    EQUAL(send_text(server, "corked", 0), 6);
    EQUAL(CALL(SYS_recvfrom, (uint64_t)client, memory, 1, MSG_DONTWAIT), -EAGAIN);
    EQUAL(set_option(server, IPPROTO_TCP, TCP_CORK, 0), 0);
    expect(client, 100, 0, "corked");
    /* One way closed, the other goes on. */
    EQUAL(CALL(SYS_shutdown, (uint64_t)client, SHUT_WR), 0);
    EQUAL(CALL(SYS_sendto, (uint64_t)client, memory, 1, MSG_NOSIGNAL), -EPIPE);
    expect(server, 100, 0, "");
    CHECK(events_of(server) & POLLRDHUP && !(events_of(server) & POLLHUP));
    EQUAL(send_text(server, "late", 0), 4);
    expect(client, 100, 0, "late");
    EQUAL(CALL(SYS_shutdown, (uint64_t)server, SHUT_WR), 0);
    expect(client, 100, 0, "");
    CHECK(events_of(client) & POLLHUP);
    close_fd(client);
    close_fd(server);
    close_fd(listening);
}

static void megabytes_arrive_in_order(void) {
    int listening = listener(5001, 8), client, server = pair(&client, listening, 5001);
    static uint8_t block[MEMORY / 2], got[MEMORY / 4];
    size_t sent = 0, received = 0, total = (size_t)8 << 20;
    for (size_t i = 0; i < sizeof block; i++)
        block[i] = (uint8_t)(i * 31 + i / 251);
    EQUAL(copy_to_user(memory, block, sizeof block), 0);
    while (received < total) {
        if (sent < total) {
            size_t at = sent % sizeof block, size = sizeof block - at;
            size = size < total - sent ? size : total - sent;
            int64_t now = CALL(SYS_sendto, (uint64_t)client, memory + at, size, MSG_DONTWAIT | (sent % 3 ? MSG_MORE : 0));
            CHECK(now > 0 || now == -EAGAIN);
            sent += now > 0 ? (size_t)now : 0;
        }
        int64_t now = CALL(SYS_recvfrom, (uint64_t)server, memory + MEMORY / 2, 100001, MSG_DONTWAIT);
        CHECK(now > 0 || now == -EAGAIN);
        if (now < 0) {
            host_run_until(hal_clock_monotonic() + MS);
            continue;
        }
        EQUAL(copy_from_user(got, memory + MEMORY / 2, (size_t)now), 0);
        for (int64_t i = 0; i < now; i++)
            EQUAL(got[i], block[(received + (size_t)i) % sizeof block]);
        received += (size_t)now;
    }
    close_fd(client);
    close_fd(server);
    close_fd(listening);
}

static int blocked_fd;
static int64_t blocked_result;
static void blocked_reader(void *argument) {
    (void)argument;
    blocked_result = CALL(SYS_recvfrom, (uint64_t)blocked_fd, memory + 20000, 6, MSG_WAITALL);
    thread_exit();
}

static void who_waits_is_woken(void) {
    int listening = listener(5002, 8), client, server = pair(&client, listening, 5002);
    blocked_fd = server;
    blocked_result = -1;
    CHECK(thread_create("reader", blocked_reader, NULL));
    host_run_until(hal_clock_monotonic() + 5 * MS);
    EQUAL(send_text(client, "abc", 0), 3);
    host_run_until(hal_clock_monotonic() + 5 * MS);
    EQUAL(blocked_result, -1);
    /* Nagle's algorithm holds these until the delayed acknowledgement of the first. */
    EQUAL(send_text(client, "defg", 0), 4);
    host_run_until(hal_clock_monotonic() + 200 * MS);
    EQUAL(blocked_result, 6);
    expect(server, 10, 0, "g");
    /* A timeout. */
    struct {
        int64_t seconds, microseconds;
    } time = {0, 20000};
    EQUAL(copy_to_user(memory, &time, sizeof time), 0);
    EQUAL(CALL(SYS_setsockopt, (uint64_t)server, SOL_SOCKET, SO_RCVTIMEO, memory, sizeof time), 0);
    uint64_t start = hal_clock_monotonic();
    EQUAL(CALL(SYS_recvfrom, (uint64_t)server, memory, 1, 0), -EAGAIN);
    CHECK(hal_clock_monotonic() - start >= 20 * MS);
    close_fd(client);
    close_fd(server);
    close_fd(listening);
}

static void unread_bytes_and_linger_reset(void) {
    int listening = listener(5003, 8), client, server = pair(&client, listening, 5003);
    EQUAL(send_text(client, "unread", 0), 6);
    close_fd(server);
    host_run_until(hal_clock_monotonic() + MS);
    EQUAL(CALL(SYS_recvfrom, (uint64_t)client, memory, 1, 0), -ECONNRESET);
    EQUAL(CALL(SYS_recvfrom, (uint64_t)client, memory, 1, 0), 0);
    close_fd(client);
    server = pair(&client, listening, 5003);
    struct linger linger = {1, 0};
    EQUAL(copy_to_user(memory, &linger, sizeof linger), 0);
    EQUAL(CALL(SYS_setsockopt, (uint64_t)client, SOL_SOCKET, SO_LINGER, memory, sizeof linger), 0);
    close_fd(client);
    host_run_until(hal_clock_monotonic() + MS);
    EQUAL(CALL(SYS_recvfrom, (uint64_t)server, memory, 1, 0), -ECONNRESET);
    close_fd(server);
    close_fd(listening);
}

/* Who was not accepted is reset, however long the listener's connections may linger. */
static void a_listener_that_is_shut_down_waits_for_nobody(void) {
    int listening = listener(5008, 8), client = stream();
    struct linger linger = {1, 100};
    EQUAL(copy_to_user(memory, &linger, sizeof linger), 0);
    EQUAL(CALL(SYS_setsockopt, (uint64_t)listening, SOL_SOCKET, SO_LINGER, memory, sizeof linger), 0);
    EQUAL(CALL(SYS_connect, (uint64_t)client, address4(LOCALHOST, 5008), 16), 0);
    uint64_t start = hal_clock_monotonic();
    EQUAL(CALL(SYS_shutdown, (uint64_t)listening, SHUT_RDWR), 0);
    EQUAL(hal_clock_monotonic(), start);
    EQUAL(CALL(SYS_recvfrom, (uint64_t)client, memory, 1, 0), -ECONNRESET);
    close_fd(client);
    close_fd(listening);
}

/* close() of a socket that lingers waits for a peer that does not read; the program's end does not. */
static void the_programs_end_waits_for_nobody(void) {
    int listening = listener(5009, 8), client, server = pair(&client, listening, 5009);
    struct linger linger = {1, 100};
    EQUAL(copy_to_user(memory, &linger, sizeof linger), 0);
    EQUAL(CALL(SYS_setsockopt, (uint64_t)client, SOL_SOCKET, SO_LINGER, memory, sizeof linger), 0);
    while (CALL(SYS_sendto, (uint64_t)client, memory, MEMORY, MSG_DONTWAIT) > 0)
        ;
    uint64_t start = hal_clock_monotonic();
    host_catches = true;
    int end = setjmp(host_end);
    if (end == 0)
        CALL(SYS_exit_group, 7);
    EQUAL(end, 1);
    EQUAL(hal_clock_monotonic(), start);
    CHECK(strstr(host_control(), "exit 7"));
    (void)server;
}

static void addresses_in_use(void) {
    int first = listener(5004, 8), second = stream();
    EQUAL(CALL(SYS_bind, (uint64_t)second, address4(INADDR_ANY, 5004), 16), -EADDRINUSE);
    EQUAL(CALL(SYS_bind, (uint64_t)second, address4(LOCALHOST, 0), 16), 0);
    CHECK(port_of(second, SYS_getsockname) >= 32768);
    EQUAL(CALL(SYS_bind, (uint64_t)second, address4(LOCALHOST, 0), 16), -EINVAL);
    close_fd(first);
    close_fd(second);
    /* A server that was connected may bind again at once. */
    int listening = listener(5005, 8), client, server = pair(&client, listening, 5005);
    close_fd(server);
    close_fd(client);
    close_fd(listening);
    close_fd(listener(5005, 8));
}

static void epoll_tells_edges(void) {
    int listening = listener(5006, 8), client, server = pair(&client, listening, 5006);
    int epoll = (int)CALL(SYS_epoll_create1, 0);
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET | EPOLLRDHUP, .data.u64 = 7}, got;
    EQUAL(copy_to_user(memory, &event, sizeof event), 0);
    EQUAL(CALL(SYS_epoll_ctl, (uint64_t)epoll, EPOLL_CTL_ADD, (uint64_t)server, memory), 0);
    EQUAL(CALL(SYS_epoll_wait, (uint64_t)epoll, memory, 4, 0), 1);
    EQUAL(copy_from_user(&got, memory, sizeof got), 0);
    EQUAL(got.events, EPOLLOUT);
    EQUAL(CALL(SYS_epoll_wait, (uint64_t)epoll, memory, 4, 0), 0);
    EQUAL(send_text(client, "x", 0), 1);
    EQUAL(CALL(SYS_epoll_wait, (uint64_t)epoll, memory, 4, 100), 1);
    EQUAL(copy_from_user(&got, memory, sizeof got), 0);
    CHECK(got.events & EPOLLIN && got.data.u64 == 7);
    EQUAL(CALL(SYS_epoll_wait, (uint64_t)epoll, memory, 4, 0), 0);
    EQUAL(send_text(client, "y", 0), 1);
    EQUAL(CALL(SYS_epoll_wait, (uint64_t)epoll, memory, 4, 100), 1);
    expect(server, 10, 0, "xy");
    close_fd(client);
    EQUAL(CALL(SYS_epoll_wait, (uint64_t)epoll, memory, 4, 100), 1);
    EQUAL(copy_from_user(&got, memory, sizeof got), 0);
    CHECK(got.events & EPOLLRDHUP);
    close_fd(server);
    close_fd(listening);
    close_fd(epoll);
}

static void ten_thousand_connections_leave_nothing(void) {
    int listening = listener(5007, 128);
    for (unsigned i = 0; i < 10000; i++) {
        int client, server = pair(&client, listening, 5007);
        EQUAL(send_text(client, "q", 0), 1);
        expect(server, 1, 0, "q");
        close_fd(i % 2 ? client : server);
        close_fd(i % 2 ? server : client);
    }
    host_run_until(hal_clock_monotonic() + 500 * MS);
    /* What closed first waits in TIME_WAIT, but only the newest do. */
    unsigned waiting = 0;
    for (struct tcp_pcb *at = tcp_tw_pcbs; at; at = at->next)
        waiting++;
    CHECK(waiting > 0 && waiting < 200);
    CHECK(!tcp_active_pcbs);
    close_fd(listening);
}

static void datagrams(void) {
    int one = (int)CALL(SYS_socket, AF_INET, SOCK_DGRAM, 0), two = (int)CALL(SYS_socket, AF_INET6, SOCK_DGRAM, 0);
    EQUAL(CALL(SYS_sendto, (uint64_t)one, memory, 1, 0), -EDESTADDRREQ);
    EQUAL(CALL(SYS_bind, (uint64_t)one, address4(LOCALHOST, 6000), 16), 0);
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(6000)};
    six.sin6_addr.s6_addr[10] = six.sin6_addr.s6_addr[11] = 0xff;
    six.sin6_addr.s6_addr[12] = 127;
    six.sin6_addr.s6_addr[15] = 1;
    EQUAL(copy_to_user(memory, &six, sizeof six), 0);
    EQUAL(copy_to_user(memory + 4096, "datagram", 8), 0);
    EQUAL(CALL(SYS_sendto, (uint64_t)two, memory + 4096, 8, 0, memory, sizeof six), 8);
    EQUAL(CALL(SYS_sendto, (uint64_t)two, memory + 4096, 0, 0, memory, sizeof six), 0);
    EQUAL(CALL(SYS_sendto, (uint64_t)two, memory + 4096, 65508, 0, memory, sizeof six), -EMSGSIZE);
    host_run_until(hal_clock_monotonic() + MS);
    EQUAL(CALL(SYS_recvfrom, (uint64_t)one, memory + 8192, 4, MSG_PEEK | MSG_TRUNC), 8);
    struct sockaddr_in from;
    int size = sizeof from;
    EQUAL(copy_to_user(memory + 64, &size, sizeof size), 0);
    EQUAL(CALL(SYS_recvfrom, (uint64_t)one, memory + 8192, 100, 0, memory, memory + 64), 8);
    EQUAL(copy_from_user(&from, memory, sizeof from), 0);
    EQUAL(ntohl(from.sin_addr.s_addr), LOCALHOST);
    CHECK(ntohs(from.sin_port) >= 32768);
    EQUAL(CALL(SYS_recvfrom, (uint64_t)one, memory + 8192, 100, 0), 0);
    EQUAL(CALL(SYS_recvfrom, (uint64_t)one, memory + 8192, 100, MSG_DONTWAIT), -EAGAIN);
    EQUAL(CALL(SYS_connect, (uint64_t)one, address4(LOCALHOST, ntohs(from.sin_port)), 16), 0);
    EQUAL(send_text(one, "back", 0), 4);
    host_run_until(hal_clock_monotonic() + MS);
    EQUAL(CALL(SYS_recvfrom, (uint64_t)two, memory + 8192, 100, MSG_DONTWAIT, memory, memory + 64), 4);
    EQUAL(copy_from_user(&six, memory, 16), 0);
    EQUAL(six.sin6_family, AF_INET6);
    close_fd(one);
    close_fd(two);
}

static void options(void) {
    int fd = stream();
    EQUAL(option(fd, SOL_SOCKET, SO_TYPE), SOCK_STREAM);
    EQUAL(option(fd, SOL_SOCKET, SO_SNDBUF), 16384);
    EQUAL(set_option(fd, SOL_SOCKET, SO_SNDBUF, 1), 0);
    EQUAL(option(fd, SOL_SOCKET, SO_SNDBUF), 4608);
    EQUAL(set_option(fd, SOL_SOCKET, SO_RCVBUF, 100000), 0);
    EQUAL(option(fd, SOL_SOCKET, SO_RCVBUF), 200000);
    EQUAL(set_option(fd, IPPROTO_TCP, TCP_NODELAY, 5), 0);
    EQUAL(option(fd, IPPROTO_TCP, TCP_NODELAY), 1);
    EQUAL(set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, 0), -EINVAL);
    EQUAL(set_option(fd, SOL_SOCKET, SO_TYPE, 1), -ENOPROTOOPT);
    EQUAL(set_option(fd, 99, 1, 1), -ENOPROTOOPT);
    EQUAL(CALL(SYS_setsockopt, (uint64_t)fd, SOL_SOCKET, SO_REUSEADDR, memory, 3), -EINVAL);
    close_fd(fd);
}

int main(void) {
    static const char settings[] = "schema=1\0program=/bin/x\0hostname=host";
    host_start((size_t)64 << 20);
    start_machine(settings, sizeof settings);
    arguments_are_checked();
    nobody_listens();
    bytes_go_both_ways();
    megabytes_arrive_in_order();
    who_waits_is_woken();
    unread_bytes_and_linger_reset();
    addresses_in_use();
    epoll_tells_edges();
    ten_thousand_connections_leave_nothing();
    datagrams();
    options();
    a_listener_that_is_shut_down_waits_for_nobody();
    the_programs_end_waits_for_nobody(); /* and nothing after it */
    return 0;
}
