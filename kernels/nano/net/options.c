/*
 * getsockopt and setsockopt.
 */
#include "hal/string.h"
#include "lwip/ip.h"
#include "nano/heap.h"
#include "net/net.h"
#include "net/socket.h"

#define SOL_IP 0
#define SOL_SOCKET 1
#define SOL_TCP 6
#define SOL_IPV6 41

#define SO_REUSEADDR 2
#define SO_TYPE 3
#define SO_ERROR 4
#define SO_BROADCAST 6
#define SO_SNDBUF 7
#define SO_RCVBUF 8
#define SO_KEEPALIVE 9
#define SO_OOBINLINE 10
#define SO_PRIORITY 12
#define SO_LINGER 13
#define SO_REUSEPORT 15
#define SO_RCVLOWAT 18
#define SO_SNDLOWAT 19
#define SO_RCVTIMEO 20
#define SO_SNDTIMEO 21
#define SO_ACCEPTCONN 30
#define SO_PROTOCOL 38
#define SO_DOMAIN 39

#define TCP_NODELAY 1
#define TCP_MAXSEG 2
#define TCP_CORK 3
#define TCP_KEEPIDLE 4
#define TCP_KEEPINTVL 5
#define TCP_KEEPCNT 6
#define TCP_DEFER_ACCEPT 9
#define TCP_QUICKACK 12
#define TCP_USER_TIMEOUT 18
#define IP_TOS 1
#define IP_TTL 2
#define IPV6_V6ONLY 26
#define IPV6_UNICAST_HOPS 16
#define IPV6_TCLASS 67

/* net/core/sock.c, include/net/sock.h: the bounds that Linux sets, and its doubling for its own bookkeeping. */
#define BUFFER_MAX 212992
#define SEND_BUFFER_MIN 4608
#define RECEIVE_BUFFER_MIN 2304
#define TCP_SEND_BUFFER 16384
#define TCP_RECEIVE_BUFFER 131072
#define KEEP_IDLE_MAX 32767
#define KEEP_COUNT_MAX 127

struct option_linger {
    int on, seconds;
};
struct option_time {
    int64_t seconds, microseconds;
};

static uint32_t buffer_size(int value, uint32_t least) {
    uint32_t size = value < 0 || value > BUFFER_MAX ? BUFFER_MAX * 2 : (uint32_t)value * 2;
    return size < least ? least : size;
}

static int64_t set_timeout(uint64_t *timeout, uintptr_t value, uint64_t length) {
    struct option_time time;
    if (length < sizeof time)
        return -EINVAL;
    if (copy_from_user(&time, value, sizeof time) != 0)
        return -EFAULT;
    if (time.microseconds < 0 || time.microseconds >= 1000000)
        return -EDOM;
    /* As Linux: a negative time does not wait at all, too long a one waits for ever. */
    if (time.seconds < 0)
        *timeout = 1;
    else if (time.seconds > 1000000000)
        *timeout = 0;
    else
        *timeout = (uint64_t)time.seconds * 1000000000 + (uint64_t)time.microseconds * 1000;
    return 0;
}

static int64_t set_socket_level(struct socket *socket, int name, int value) {
    switch (name) {
    case SO_REUSEADDR:
        socket->reuse_address = value != 0;
        return 0;
    case SO_REUSEPORT:
        socket->reuse_port = value != 0;
        return 0;
    case SO_BROADCAST:
        socket->broadcast = value != 0;
        return 0;
    case SO_KEEPALIVE:
        socket->keep_alive = value != 0;
        return 0;
    case SO_SNDBUF:
        socket->send_buffer = buffer_size(value, SEND_BUFFER_MIN);
        return 0;
    case SO_RCVBUF:
        socket->receive_buffer = buffer_size(value, RECEIVE_BUFFER_MIN);
        return 0;
    case SO_OOBINLINE: /* urgent data always stands in the stream here */
    case SO_PRIORITY:
    case SO_RCVLOWAT:
        return 0;
    case SO_SNDLOWAT:
    case SO_TYPE:
    case SO_ERROR:
    case SO_ACCEPTCONN:
    case SO_PROTOCOL:
    case SO_DOMAIN:
    default:
        return -ENOPROTOOPT;
    }
}

static int64_t set_tcp_level(struct socket *socket, int name, int value) {
    if (socket->type != SOCK_STREAM)
        return -ENOPROTOOPT;
    switch (name) {
    case TCP_NODELAY:
        socket->no_delay = value != 0;
        if (value)
            tcp_socket_push(socket);
        return 0;
    case TCP_CORK:
        socket->cork = value != 0;
        if (!value)
            tcp_socket_push(socket);
        return 0;
    case TCP_KEEPIDLE:
    case TCP_KEEPINTVL:
        if (value < 1 || value > KEEP_IDLE_MAX)
            return -EINVAL;
        *(name == TCP_KEEPIDLE ? &socket->keep_idle : &socket->keep_interval) = (uint32_t)value;
        return 0;
    case TCP_KEEPCNT:
        if (value < 1 || value > KEEP_COUNT_MAX)
            return -EINVAL;
        socket->keep_count = (uint32_t)value;
        return 0;
    case TCP_MAXSEG:
        return value < 88 || value > 32767 ? -EINVAL : 0;
    case TCP_USER_TIMEOUT:
        return value < 0 ? -EINVAL : 0;
    case TCP_DEFER_ACCEPT:
    case TCP_QUICKACK:
        return 0;
    default:
        return -ENOPROTOOPT;
    }
}

static int64_t set_v6_only(struct socket *socket, bool on) {
    if (socket->bound || socket->state != SOCKET_IDLE)
        return -EINVAL;
    u8_t type = on ? IPADDR_TYPE_V6 : IPADDR_TYPE_ANY;
    socket->v6_only = on;
    if (socket->type == SOCK_STREAM && socket->tcp) {
        IP_SET_TYPE_VAL(socket->tcp->local_ip, type);
        IP_SET_TYPE_VAL(socket->tcp->remote_ip, type);
    } else if (socket->type == SOCK_DGRAM) {
        IP_SET_TYPE_VAL(socket->udp->local_ip, type);
        IP_SET_TYPE_VAL(socket->udp->remote_ip, type);
    }
    return 0;
}

int64_t socket_set_option(struct socket *socket, int level, int name, uintptr_t address, uint64_t length) {
    int value;
    int64_t status = -ENOPROTOOPT;
    if ((int)length < 0)
        return -EINVAL;
    length = (uint32_t)length;
    if (level == SOL_SOCKET && (name == SO_RCVTIMEO || name == SO_SNDTIMEO))
        return set_timeout(name == SO_RCVTIMEO ? &socket->receive_timeout : &socket->send_timeout, address, length);
    if (length < sizeof value)
        return -EINVAL;
    if (level == SOL_SOCKET && name == SO_LINGER) {
        struct option_linger linger;
        if (length < sizeof linger)
            return -EINVAL;
        if (copy_from_user(&linger, address, sizeof linger) != 0)
            return -EFAULT;
        socket->linger = linger.on != 0;
        socket->linger_seconds = linger.seconds < 0 ? 0 : (unsigned)linger.seconds;
        return 0;
    }
    if (copy_from_user(&value, address, sizeof value) != 0)
        return -EFAULT;
    if (level == SOL_SOCKET)
        status = set_socket_level(socket, name, value);
    else if (level == SOL_TCP)
        status = set_tcp_level(socket, name, value);
    else if (level == SOL_IP && name == IP_TTL)
        status = value != -1 && (value < 1 || value > 255) ? -EINVAL : 0;
    else if (level == SOL_IP && name == IP_TOS)
        status = 0;
    else if (level == SOL_IPV6 && socket->domain == AF_INET6 && name == IPV6_V6ONLY)
        status = set_v6_only(socket, value != 0);
    else if (level == SOL_IPV6 && socket->domain == AF_INET6 && (name == IPV6_UNICAST_HOPS || name == IPV6_TCLASS))
        status = value < -1 || value > 255 ? -EINVAL : 0;
    /* lwIP's part of both kinds has the two at the same place. */
    struct ip_pcb *pcb = socket->type == SOCK_STREAM ? (struct ip_pcb *)socket->tcp : (struct ip_pcb *)socket->udp;
    if (status == 0 && pcb && level == SOL_IP)
        *(name == IP_TTL ? &pcb->ttl : &pcb->tos) = (u8_t)(name == IP_TTL && value == -1 ? IP_DEFAULT_TTL : value);
    if (status == 0 && socket->type == SOCK_STREAM)
        tcp_socket_apply_options(socket);
    return status;
}

static int64_t get_value(struct socket *socket, int level, int name, int *value) {
    bool stream = socket->type == SOCK_STREAM;
    struct ip_pcb *pcb = stream ? (struct ip_pcb *)socket->tcp : (struct ip_pcb *)socket->udp;
    uint32_t size;
    switch (level << 16 | name) {
    case SOL_SOCKET << 16 | SO_REUSEADDR:
        return *value = socket->reuse_address, 0;
    case SOL_SOCKET << 16 | SO_REUSEPORT:
        return *value = socket->reuse_port, 0;
    case SOL_SOCKET << 16 | SO_TYPE:
        return *value = socket->type, 0;
    case SOL_SOCKET << 16 | SO_ERROR:
        return *value = -socket_take_error(socket), 0;
    case SOL_SOCKET << 16 | SO_BROADCAST:
        return *value = socket->broadcast, 0;
    case SOL_SOCKET << 16 | SO_KEEPALIVE:
        return *value = socket->keep_alive, 0;
    case SOL_SOCKET << 16 | SO_OOBINLINE:
    case SOL_SOCKET << 16 | SO_PRIORITY:
        return *value = 0, 0;
    case SOL_SOCKET << 16 | SO_RCVLOWAT:
    case SOL_SOCKET << 16 | SO_SNDLOWAT:
        return *value = 1, 0;
    case SOL_SOCKET << 16 | SO_ACCEPTCONN:
        return *value = socket->state == SOCKET_LISTENING, 0;
    case SOL_SOCKET << 16 | SO_PROTOCOL:
        return *value = stream ? 6 : 17, 0;
    case SOL_SOCKET << 16 | SO_DOMAIN:
        return *value = socket->domain, 0;
    case SOL_SOCKET << 16 | SO_SNDBUF:
        size = socket->send_buffer ? socket->send_buffer : stream ? TCP_SEND_BUFFER : SOCKET_BUFFER_DEFAULT;
        return *value = (int)size, 0;
    case SOL_SOCKET << 16 | SO_RCVBUF:
        size = stream && socket->receive_buffer == SOCKET_BUFFER_DEFAULT ? TCP_RECEIVE_BUFFER : socket->receive_buffer;
        return *value = (int)size, 0;
    case SOL_IP << 16 | IP_TTL:
        return *value = pcb ? pcb->ttl : IP_DEFAULT_TTL, 0;
    case SOL_IP << 16 | IP_TOS:
        return *value = pcb ? pcb->tos : 0, 0;
    default:
        break;
    }
    if (level == SOL_IPV6 && socket->domain == AF_INET6 && name == IPV6_V6ONLY)
        return *value = socket->v6_only, 0;
    if (socket->domain == AF_INET && level != SOL_SOCKET && level != SOL_IP && !(level == SOL_TCP && stream))
        return -EOPNOTSUPP;
    if (level != SOL_TCP || !stream)
        return -ENOPROTOOPT;
    switch (name) {
    case TCP_NODELAY:
        return *value = socket->no_delay, 0;
    case TCP_CORK:
        return *value = socket->cork, 0;
    case TCP_KEEPIDLE:
        return *value = socket->keep_idle ? (int)socket->keep_idle : 7200, 0;
    case TCP_KEEPINTVL:
        return *value = socket->keep_interval ? (int)socket->keep_interval : 75, 0;
    case TCP_KEEPCNT:
        return *value = socket->keep_count ? (int)socket->keep_count : 9, 0;
    case TCP_MAXSEG:
        return *value = socket->tcp && socket->state == SOCKET_CONNECTED ? socket->tcp->mss : 536, 0;
    case TCP_DEFER_ACCEPT:
    case TCP_USER_TIMEOUT:
        return *value = 0, 0;
    case TCP_QUICKACK:
        return *value = 1, 0;
    default:
        return -ENOPROTOOPT;
    }
}

static int64_t give(uintptr_t address, uintptr_t length, int room, const void *value, size_t size) {
    int given = (size_t)room < size ? room : (int)size;
    return copy_to_user(length, &given, sizeof given) != 0 || copy_to_user(address, value, (size_t)given) != 0 ? -EFAULT : 0;
}

int64_t socket_get_option(struct socket *socket, int level, int name, uintptr_t address, uintptr_t length) {
    int room, value = 0;
    if (copy_from_user(&room, length, sizeof room) != 0)
        return -EFAULT;
    if (room < 0)
        return -EINVAL;
    if (level == SOL_SOCKET && (name == SO_RCVTIMEO || name == SO_SNDTIMEO)) {
        uint64_t timeout = name == SO_RCVTIMEO ? socket->receive_timeout : socket->send_timeout;
        struct option_time time = {(int64_t)(timeout / 1000000000), (int64_t)(timeout % 1000000000 / 1000)};
        return give(address, length, room, &time, sizeof time);
    }
    if (level == SOL_SOCKET && name == SO_LINGER) {
        struct option_linger linger = {socket->linger, (int)socket->linger_seconds};
        return give(address, length, room, &linger, sizeof linger);
    }
    int64_t status = get_value(socket, level, name, &value);
    return status ? status : give(address, length, room, &value, sizeof value);
}
