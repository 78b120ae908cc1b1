/*
 * What the programs on sockets share: loopback addresses, and what poll and epoll see.
 */
#ifndef ABI_NET_H
#define ABI_NET_H

#include "../abi.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#define SA(address) ((struct sockaddr *)&(address))

static inline struct sockaddr_in in4(unsigned ip, unsigned port) {
    return (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(ip)};
}

static inline struct sockaddr_in6 in6(struct in6_addr ip, unsigned port) {
    return (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port), .sin6_addr = ip};
}

static inline int int_option(int fd, int level, int name) {
    int value = -1;
    socklen_t size = sizeof value;
    return getsockopt(fd, level, name, &value, &size) == 0 ? value : -1;
}

static inline int set_int(int fd, int level, int name, int value) {
    return setsockopt(fd, level, name, &value, sizeof value);
}

/* What poll() sees within a moment; -1: nothing, or not all of `wanted`. */
static inline int seen(int fd, int wanted) {
    struct pollfd p = {.fd = fd, .events = POLLIN | POLLOUT | POLLRDHUP | POLLPRI};
    for (unsigned i = 0; i < 500; i++) {
        if (poll(&p, 1, 0) > 0 && (p.revents & wanted) == wanted)
            return p.revents;
        usleep(2000);
    }
    return -1;
}

/* On Linux a fresh network namespace has its loopback interface down. */
__attribute__((constructor)) static void loopback_up(void) {
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING | IFF_LOOPBACK};
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    ioctl(fd, SIOCSIFFLAGS, &request);
    close(fd);
}

#endif
