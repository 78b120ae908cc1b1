/*
 * Linux's own TCP/IP as the peer: the machine hangs on a TAP of a network namespace that this process makes for itself, and
 * a second process talks to it there by ordinary sockets, over IPv4 and IPv6.
 */
#define _GNU_SOURCE /* unshare */
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <net/if.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host_net.h"
#include "peer.h"
#include "program.h"

#include "nano/errno.h"

#define LINUX_IP "10.0.2.2"
#define NANO_IP "10.0.2.15"
#define NANO_LINK_LOCAL "fe80::5054:ff:fe01:203" /* of the device's MAC address, RFC 4291, appendix A */
#define BYTES (1u << 20)
#define CHUNK 65536u
#define CANNOT 77 /* the exit status where this computer gives no namespace or no TAP */
#define LONGEST 100 /* seconds; then the process is ended by SIGALRM */

static const char settings[] = "schema=1\0program=/bin/x\0hostname=host\0net=static," NANO_IP "/24," LINUX_IP ",";

/* Linux's side. */

/* <errno.h> and nano/errno.h define the same names. */
static int errno_of_linux(void) {
    extern int *__errno_location(void);
    return *__errno_location();
}

static void set_up_interface(const char *name) {
    struct ifreq request = {0};
    struct sockaddr_in *address = (struct sockaddr_in *)&request.ifr_addr;
    char path[128];
    int control = socket(AF_INET, SOCK_DGRAM, 0);
    CHECK(control >= 0);
    /* Without this Linux would look for a second owner of its address for a second. */
    snprintf(path, sizeof path, "/proc/sys/net/ipv6/conf/%s/accept_dad", name);
    FILE *file = fopen(path, "w");
    CHECK(file && fputs("0", file) >= 0 && fclose(file) == 0);
    snprintf(request.ifr_name, sizeof request.ifr_name, "%s", name);
    address->sin_family = AF_INET;
    CHECK(inet_pton(AF_INET, LINUX_IP, &address->sin_addr) == 1);
    CHECK(ioctl(control, SIOCSIFADDR, &request) == 0);
    CHECK(inet_pton(AF_INET, "255.255.255.0", &address->sin_addr) == 1);
    CHECK(ioctl(control, SIOCSIFNETMASK, &request) == 0);
    request.ifr_flags = IFF_UP | IFF_RUNNING;
    CHECK(ioctl(control, SIOCSIFFLAGS, &request) == 0);
    close(control);
}

/* The machine's address for sockets of `family`. */
static socklen_t nano_address(int family, uint16_t port, struct sockaddr_storage *storage) {
    memset(storage, 0, sizeof *storage);
    if (family == AF_INET) {
        struct sockaddr_in *in = (struct sockaddr_in *)storage;
        *in = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port)};
        CHECK(inet_pton(AF_INET, NANO_IP, &in->sin_addr) == 1);
        return sizeof *in;
    }
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)storage;
    *in6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_scope_id = if_nametoindex("tap0")};
    CHECK(inet_pton(AF_INET6, NANO_LINK_LOCAL, &in6->sin6_addr) == 1);
    return sizeof *in6;
}

static int linux_socket(int family, int type, uint16_t port) {
    struct sockaddr_storage to;
    socklen_t size = nano_address(family, port, &to);
    int fd = socket(family, type, 0);
    CHECK(fd >= 0);
    if (connect(fd, (struct sockaddr *)&to, size) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

/* A megabyte there and back; the writer is a process of its own, since neither side has room for all of it. */
static void linux_echoes_by_tcp(int family) {
    static uint8_t sent[BYTES], got[BYTES];
    struct tcp_info info;
    socklen_t info_size = sizeof info;
    int fd = linux_socket(family, SOCK_STREAM, 80), status;
    size_t total = 0;
    ssize_t now;
    CHECK(fd >= 0);
    for (size_t i = 0; i < BYTES; i++)
        sent[i] = (uint8_t)(i * 13 + i / 255);
    pid_t writer = fork();
    if (writer == 0) {
        for (size_t at = 0; at < BYTES; at += (size_t)now)
            CHECK((now = write(fd, sent + at, BYTES - at)) > 0);
        _exit(shutdown(fd, SHUT_WR) == 0 ? 0 : 1);
    }
    while (total < BYTES && (now = read(fd, got + total, BYTES - total)) > 0)
        total += (size_t)now;
    EQUAL(total, BYTES);
    CHECK(memcmp(sent, got, BYTES) == 0);
    EQUAL(read(fd, got, 1), 0);
    CHECK(waitpid(writer, &status, 0) == writer && status == 0);
    CHECK(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &info_size) == 0);
    EQUAL(info.tcpi_snd_wscale, 2);
    EQUAL(info.tcpi_snd_mss, family == AF_INET ? 1460 : 1440);
    CHECK(info.tcpi_options & TCPI_OPT_WSCALE && info.tcpi_options & TCPI_OPT_SACK);
    close(fd);
}

static void linux_echoes_by_udp(int family) {
    char got[3000];
    int fd = linux_socket(family, SOCK_DGRAM, 53);
    for (unsigned size = 1; size <= 2999; size += 1499) { /* the last in fragments */
        memset(got, 'a', sizeof got);
        EQUAL(send(fd, got, size, 0), size);
        memset(got, 0, sizeof got);
        EQUAL(recv(fd, got, sizeof got, 0), size);
        CHECK(got[0] == 'a' && got[size - 1] == 'a');
    }
    close(fd);
}

static void linux_meets_a_closed_port(int family) {
    char byte;
    EQUAL(linux_socket(family, SOCK_STREAM, 81), -1);
    EQUAL(errno_of_linux(), ECONNREFUSED);
    int fd = linux_socket(family, SOCK_DGRAM, 81);
    EQUAL(send(fd, "x", 1, 0), 1);
    EQUAL(recv(fd, &byte, 1, 0), -1);
    EQUAL(errno_of_linux(), ECONNREFUSED);
    close(fd);
}

/* Waits for the machine's own connection. */
static void linux_is_called(int listening) {
    struct sockaddr_in from;
    socklen_t size = sizeof from;
    char text[6] = "";
    int fd = accept(listening, (struct sockaddr *)&from, &size);
    CHECK(fd >= 0 && ntohs(from.sin_port) >= 32768);
    EQUAL(read(fd, text, sizeof text), 5);
    CHECK(strcmp(text, "hello") == 0);
    EQUAL(write(fd, "world", 5), 5);
    close(fd);
}

static void linux_side(int listening) {
    static const int families[] = {AF_INET, AF_INET6};
    alarm(LONGEST);
    for (unsigned i = 0; i < 2; i++) {
        linux_echoes_by_tcp(families[i]);
        linux_echoes_by_udp(families[i]);
        linux_meets_a_closed_port(families[i]);
    }
    linux_is_called(listening);
}

/* The machine's side. */

static void echo_connections(void *argument) {
    (void)argument;
    uintptr_t buffer = memory + CHUNK;
    int listening = (int)CALL(SYS_socket, AF_INET6, SOCK_STREAM, 0);
    struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons(80)};
    EQUAL(copy_to_user(buffer, &any, sizeof any), 0);
    EQUAL(CALL(SYS_bind, (uint64_t)listening, buffer, sizeof any), 0);
    EQUAL(CALL(SYS_listen, (uint64_t)listening, 8), 0);
    for (;;) {
        int fd = (int)CALL(SYS_accept4, (uint64_t)listening, 0, 0, 0);
        CHECK(fd >= 0);
        int64_t got;
        while ((got = CALL(SYS_recvfrom, (uint64_t)fd, buffer, CHUNK)) > 0)
            EQUAL(CALL(SYS_sendto, (uint64_t)fd, buffer, (uint64_t)got), got);
        EQUAL(got, 0);
        EQUAL(CALL(SYS_close, (uint64_t)fd), 0);
    }
}

static void echo_datagrams(void *argument) {
    (void)argument;
    uintptr_t buffer = memory + 2 * CHUNK, from = buffer + 8192, size = buffer + 9000;
    int fd = (int)CALL(SYS_socket, AF_INET6, SOCK_DGRAM, 0), room = sizeof(struct sockaddr_in6);
    struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons(53)};
    EQUAL(copy_to_user(from, &any, sizeof any), 0);
    EQUAL(CALL(SYS_bind, (uint64_t)fd, from, sizeof any), 0);
    for (;;) {
        EQUAL(copy_to_user(size, &room, sizeof room), 0);
        int64_t got = CALL(SYS_recvfrom, (uint64_t)fd, buffer, 8192, 0, from, size);
        CHECK(got > 0);
        EQUAL(CALL(SYS_sendto, (uint64_t)fd, buffer, (uint64_t)got, 0, from, sizeof any), got);
    }
}

static bool called;
static void call_linux(void *argument) {
    (void)argument;
    uintptr_t buffer = memory + 3 * CHUNK;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(8000), .sin_addr.s_addr = htonl(PEER)};
    char got[5];
    int fd = (int)CALL(SYS_socket, AF_INET, SOCK_STREAM, 0);
    EQUAL(copy_to_user(buffer, &to, sizeof to), 0);
    EQUAL(CALL(SYS_connect, (uint64_t)fd, buffer, sizeof to), 0);
    EQUAL(copy_to_user(buffer, "hello", 5), 0);
    EQUAL(CALL(SYS_sendto, (uint64_t)fd, buffer, 5), 5);
    EQUAL(CALL(SYS_recvfrom, (uint64_t)fd, buffer + 100, 5, MSG_WAITALL), 5);
    EQUAL(copy_from_user(got, buffer + 100, 5), 0);
    CHECK(memcmp(got, "world", 5) == 0);
    EQUAL(CALL(SYS_close, (uint64_t)fd), 0);
    called = true;
    thread_exit();
}

int main(void) {
    static struct host_tap tap;
    static struct host_net device;
    alarm(LONGEST);
    bool own = unshare(CLONE_NEWNET) == 0 || unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0;
    int opened = own ? host_tap_open(&tap, "tap0") : -EPERM;
    if (opened == -EPERM || opened == -ENOENT)
        return CANNOT;
    EQUAL(opened, 0);
    set_up_interface("tap0");
    int listening = socket(AF_INET, SOCK_STREAM, 0), status = -1;
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(8000)};
    CHECK(bind(listening, (struct sockaddr *)&any, sizeof any) == 0 && listen(listening, 1) == 0);
    pid_t child = fork();
    if (child == 0) {
        linux_side(listening);
        exit(0);
    }
    host_start((size_t)64 << 20);
    host_net_create(&device, &tap.link);
    start_machine(settings, sizeof settings);
    CHECK(thread_create("connections", echo_connections, NULL));
    CHECK(thread_create("datagrams", echo_datagrams, NULL));
    CHECK(thread_create("caller", call_linux, NULL));
    while (waitpid(child, &status, WNOHANG) == 0)
        host_run_until(hal_clock_monotonic() + 20 * MS);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK(called);
    EQUAL(device.lost, 0);
    host_tap_close(&tap);
    return 0;
}
