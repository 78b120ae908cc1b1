/*
 * The system calls of sockets: group `net`.
 */
#include "hal/clock.h"
#include "hal/string.h"
#include "nano/heap.h"
#include "nano/signal.h"
#include "nano/syscall.h"
#include "nano/timer.h"
#include "net/net.h"
#include "net/socket.h"

#define SOCK_TYPE_MASK 0xfu
#define SOCK_CLOEXEC 02000000u
#define SOCK_NONBLOCK 04000u
#define AF_UNSPEC 0
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17
#define SEGMENTS 8
#define MSG_WAITFORONE 0x10000u
#define MESSAGES_MAX 1024

/* struct msghdr and struct mmsghdr of x86-64. */
struct user_message {
    uint64_t name;
    uint32_t name_length, pad;
    uint64_t iovec, iovec_length;
    uint64_t control, control_length;
    uint32_t flags, pad2;
};
struct user_messages {
    struct user_message message;
    uint32_t length, pad;
};

/* A descriptor's socket, its file referenced. NULL: in *status -EBADF or -ENOTSOCK. */
static struct socket *get(uint64_t fd, int64_t *status) {
    struct file *file = fd_get(fd);
    *status = file ? 0 : -EBADF;
    if (file && file->ops != &socket_file_ops) {
        file_put(file);
        file = NULL;
        *status = -ENOTSOCK;
    }
    return file ? file->data : NULL;
}

static int64_t put(struct socket *socket, int64_t status) {
    file_put(socket->file);
    return status;
}

static int64_t open_socket(struct socket *socket, uint64_t flags) {
    struct file *file = file_create(&socket_file_ops, O_RDWR | (flags & SOCK_NONBLOCK ? O_NONBLOCK : 0), socket);
    if (!file)
        return -ENFILE;
    socket->file = file;
    int fd = fd_install(file, 0, flags & SOCK_CLOEXEC);
    if (fd < 0)
        file_put(file);
    return fd;
}

static int64_t sys_socket(const uint64_t *a) {
    int domain = (int)a[0], protocol = (int)a[2];
    unsigned type = (unsigned)a[1] & SOCK_TYPE_MASK;
    if ((unsigned)a[1] & ~(SOCK_TYPE_MASK | SOCK_CLOEXEC | SOCK_NONBLOCK))
        return -EINVAL;
    if (domain != AF_INET && domain != AF_INET6)
        return -EAFNOSUPPORT;
    if (type > 10)
        return -EINVAL;
    if (type != SOCK_STREAM && type != SOCK_DGRAM)
        return type == 3 ? -EPERM : -ESOCKTNOSUPPORT;
    if (protocol < 0 || protocol >= 263)
        return -EINVAL;
    if (protocol != 0 && protocol != (type == SOCK_STREAM ? IPPROTO_TCP : IPPROTO_UDP))
        return -EPROTONOSUPPORT;
    struct socket *socket = socket_create(domain, (int)type);
    if (!socket)
        return -ENOBUFS;
    int64_t fd = open_socket(socket, a[1]);
    if (fd == -ENFILE)
        type == SOCK_STREAM ? tcp_socket_release(socket) : udp_socket_release(socket);
    return fd;
}
SYSCALL(41, socket, sys_socket, net);

static int64_t sys_socketpair(const uint64_t *a) {
    int domain = (int)a[0];
    return domain == AF_INET || domain == AF_INET6 ? -EOPNOTSUPP : -EAFNOSUPPORT;
}
SYSCALL(53, socketpair, sys_socketpair, net);

static int64_t bind_socket(struct socket *socket, uintptr_t address, uint64_t length) {
    struct endpoint to;
    int status = endpoint_from_user(socket, address, length, &to);
    if (status != 0)
        return status;
    if (!endpoint_is_local(&to))
        return -EADDRNOTAVAIL;
    /* Any address of IPv6 means any of both, unless the socket wants IPv6 only. */
    if (socket->domain == AF_INET6 && IP_IS_V6_VAL(to.address) && ip_addr_isany(&to.address))
        endpoint_any(socket, &to.address);
    return socket->type == SOCK_STREAM ? tcp_socket_bind(socket, &to) : udp_socket_bind(socket, &to);
}

static int64_t sys_bind(const uint64_t *a) {
    int64_t status;
    struct socket *socket = get(a[0], &status);
    return socket ? put(socket, bind_socket(socket, a[1], a[2])) : status;
}
SYSCALL(49, bind, sys_bind, net);

static int64_t sys_listen(const uint64_t *a) {
    int64_t status;
    struct socket *socket = get(a[0], &status);
    if (!socket)
        return status;
    return put(socket, socket->type == SOCK_STREAM ? tcp_socket_listen(socket, (int)a[1]) : -EOPNOTSUPP);
}
SYSCALL(50, listen, sys_listen, net);

static unsigned wait_flags(const struct socket *socket) {
    return socket->file->flags & O_NONBLOCK ? MSG_DONTWAIT : 0;
}

static int64_t accept_socket(struct socket *listener, uintptr_t address, uintptr_t length, uint64_t flags) {
    struct socket *socket;
    if (flags & ~(uint64_t)(SOCK_CLOEXEC | SOCK_NONBLOCK))
        return -EINVAL;
    if (listener->type != SOCK_STREAM)
        return -EOPNOTSUPP;
    int64_t status = tcp_socket_accept(listener, wait_flags(listener), &socket);
    if (status != 0)
        return status;
    /* Kept alive: another thread could close the new descriptor while the address is written. */
    struct endpoint peer = socket->peer;
    int64_t fd = open_socket(socket, flags);
    if (fd == -ENFILE)
        tcp_socket_release(socket);
    if (fd >= 0 && address) {
        status = endpoint_to_user(listener, &peer, address, length);
        if (status != 0) {
            fd_close((uint64_t)fd);
            return status;
        }
    }
    return fd;
}

static int64_t sys_accept4(const uint64_t *a) {
    int64_t status;
    struct socket *socket = get(a[0], &status);
    return socket ? put(socket, accept_socket(socket, a[1], a[2], (uint32_t)a[3])) : status;
}
SYSCALL(288, accept4, sys_accept4, net);

static int64_t sys_accept(const uint64_t *a) {
    const uint64_t arguments[6] = {a[0], a[1], a[2], 0};
    return sys_accept4(arguments);
}
SYSCALL(43, accept, sys_accept, net);

static int64_t connect_socket(struct socket *socket, uintptr_t address, uint64_t length) {
    struct endpoint to;
    uint16_t family;
    if ((uint32_t)length < sizeof family)
        return -EINVAL;
    if (copy_from_user(&family, address, sizeof family) != 0)
        return -EFAULT;
    if (family == AF_UNSPEC)
        return socket->type == SOCK_DGRAM ? udp_socket_connect(socket, NULL) : tcp_socket_disconnect(socket);
    int status = endpoint_of_peer(socket, address, length, &to);
    if (status != 0)
        return status;
    /* As Linux: any address means this machine. */
    if (ip_addr_isany(&to.address)) {
        if (IP_IS_V4_VAL(to.address))
            ip_addr_set_loopback_val(false, to.address);
        else
            ip_addr_set_loopback_val(true, to.address);
    }
    if (socket->type == SOCK_DGRAM)
        return udp_socket_connect(socket, &to);
    return tcp_socket_connect(socket, &to, !(socket->file->flags & O_NONBLOCK));
}

static int64_t sys_connect(const uint64_t *a) {
    int64_t status;
    struct socket *socket = get(a[0], &status);
    return socket ? put(socket, connect_socket(socket, a[1], a[2])) : status;
}
SYSCALL(42, connect, sys_connect, net);

static int64_t sys_shutdown(const uint64_t *a) {
    int64_t status;
    struct socket *socket = get(a[0], &status);
    int how = (int)a[1];
    if (!socket)
        return status;
    if (how < SHUT_RD || how > SHUT_RDWR)
        return put(socket, -EINVAL);
    return put(socket, socket->type == SOCK_STREAM ? tcp_socket_shutdown(socket, how) : udp_socket_shutdown(socket, how));
}
SYSCALL(48, shutdown, sys_shutdown, net);

static int64_t sys_getsockname(const uint64_t *a) {
    int64_t status;
    struct socket *socket = get(a[0], &status);
    return socket ? put(socket, endpoint_to_user(socket, &socket->local, a[1], a[2])) : status;
}
SYSCALL(51, getsockname, sys_getsockname, net);

static int64_t sys_getpeername(const uint64_t *a) {
    int64_t status;
    struct socket *socket = get(a[0], &status);
    if (!socket)
        return status;
    return put(socket, socket->state == SOCKET_CONNECTED ? endpoint_to_user(socket, &socket->peer, a[1], a[2]) : -ENOTCONN);
}
SYSCALL(52, getpeername, sys_getpeername, net);

static int64_t sys_setsockopt(const uint64_t *a) {
    int64_t status;
    struct socket *socket = get(a[0], &status);
    return socket ? put(socket, socket_set_option(socket, (int)a[1], (int)a[2], a[3], a[4])) : status;
}
SYSCALL(54, setsockopt, sys_setsockopt, net);

static int64_t sys_getsockopt(const uint64_t *a) {
    int64_t status;
    struct socket *socket = get(a[0], &status);
    return socket ? put(socket, socket_get_option(socket, (int)a[1], (int)a[2], a[3], a[4])) : status;
}
SYSCALL(55, getsockopt, sys_getsockopt, net);

/* Sends to `name` (0: the peer); raises SIGPIPE as Linux does. */
static int64_t transmit(struct socket *socket, struct iter *data, uintptr_t name, uint64_t name_length, unsigned flags) {
    struct endpoint to;
    struct message message = {.data = data, .flags = flags | wait_flags(socket)};
    if (name && socket->type == SOCK_DGRAM) {
        int status = endpoint_of_peer(socket, name, name_length, &to);
        if (status != 0)
            return status;
        message.address = &to;
    }
    int64_t result = socket->type == SOCK_STREAM ? tcp_socket_send(socket, &message) : udp_socket_send(socket, &message);
    if (result == -EPIPE && socket->type == SOCK_STREAM && !(flags & MSG_NOSIGNAL))
        signal_raise(SIGPIPE);
    return result;
}

static int64_t sys_sendto(const uint64_t *a) {
    int64_t status;
    struct iter data;
    struct segment segment;
    struct socket *socket = get(a[0], &status);
    if (!socket)
        return status;
    iter_init_user(&data, &segment, a[1], a[2]);
    return put(socket, transmit(socket, &data, a[4], a[5], (unsigned)a[3]));
}
SYSCALL(44, sendto, sys_sendto, net);

static int64_t receive(struct socket *socket, struct message *message) {
    message->flags |= wait_flags(socket);
    return socket->type == SOCK_STREAM ? tcp_socket_receive(socket, message) : udp_socket_receive(socket, message);
}

static int64_t sys_recvfrom(const uint64_t *a) {
    int64_t status;
    struct iter data;
    struct segment segment;
    struct endpoint from;
    struct socket *socket = get(a[0], &status);
    if (!socket)
        return status;
    iter_init_user(&data, &segment, a[1], a[2]);
    struct message message = {.data = &data, .address = a[4] && socket->type == SOCK_DGRAM ? &from : NULL, .flags = (unsigned)a[3]};
    int64_t result = receive(socket, &message);
    if (result >= 0 && message.address) {
        status = endpoint_to_user(socket, &from, a[4], a[5]);
        if (status != 0)
            result = status;
    } else if (result >= 0 && a[4] && a[5]) {
        int none = 0; /* a stream's bytes have no address */
        if (copy_to_user(a[5], &none, sizeof none) != 0)
            result = -EFAULT;
    }
    return put(socket, result);
}
SYSCALL(45, recvfrom, sys_recvfrom, net);

static int64_t send_message(struct socket *socket, uintptr_t address, unsigned flags) {
    struct user_message user;
    struct iter data;
    struct segment segments[SEGMENTS];
    void *allocated;
    if (copy_from_user(&user, address, sizeof user) != 0)
        return -EFAULT;
    if (user.iovec_length > IOV_MAX)
        return -EMSGSIZE;
    int64_t status = iter_init_iovec(&data, segments, SEGMENTS, user.iovec, user.iovec_length, &allocated);
    if (status == 0)
        status = transmit(socket, &data, user.name_length ? user.name : 0, user.name_length, flags);
    kfree(allocated);
    return status;
}

static int64_t receive_message(struct socket *socket, uintptr_t address, unsigned flags) {
    struct user_message user;
    struct iter data;
    struct segment segments[SEGMENTS];
    struct endpoint from;
    void *allocated;
    if (copy_from_user(&user, address, sizeof user) != 0)
        return -EFAULT;
    if (user.iovec_length > IOV_MAX)
        return -EMSGSIZE;
    int64_t result = iter_init_iovec(&data, segments, SEGMENTS, user.iovec, user.iovec_length, &allocated);
    if (result != 0)
        return result;
    struct message message = {.data = &data, .address = user.name && socket->type == SOCK_DGRAM ? &from : NULL, .flags = flags};
    result = receive(socket, &message);
    kfree(allocated);
    if (result < 0)
        return result;
    uint8_t name[28];
    uint32_t size = message.address ? (uint32_t)endpoint_encode(socket, &from, name) : 0;
    uint32_t out_flags = message.flags & MSG_TRUNC;
    uint64_t no_control = 0;
    if (message.address && copy_to_user(user.name, name, size < user.name_length ? size : user.name_length) != 0)
        return -EFAULT;
    if ((user.name && copy_to_user(address + offsetof(struct user_message, name_length), &size, sizeof size) != 0) ||
        copy_to_user(address + offsetof(struct user_message, flags), &out_flags, sizeof out_flags) != 0 ||
        copy_to_user(address + offsetof(struct user_message, control_length), &no_control, sizeof no_control) != 0)
        return -EFAULT;
    return result;
}

static int64_t sys_sendmsg(const uint64_t *a) {
    int64_t status;
    struct socket *socket = get(a[0], &status);
    return socket ? put(socket, send_message(socket, a[1], (unsigned)a[2])) : status;
}
SYSCALL(46, sendmsg, sys_sendmsg, net);

static int64_t sys_recvmsg(const uint64_t *a) {
    int64_t status;
    struct socket *socket = get(a[0], &status);
    return socket ? put(socket, receive_message(socket, a[1], (unsigned)a[2])) : status;
}
SYSCALL(47, recvmsg, sys_recvmsg, net);

static int64_t many(const uint64_t *a, int64_t (*one)(struct socket *, uintptr_t, unsigned), uint64_t deadline) {
    int64_t status = 0, done = 0;
    struct socket *socket = get(a[0], &status);
    uint32_t count = (uint32_t)a[2] < MESSAGES_MAX ? (uint32_t)a[2] : MESSAGES_MAX;
    unsigned flags = (unsigned)a[3];
    if (!socket)
        return status;
    for (; done < count; done++) {
        uintptr_t address = a[1] + (uint64_t)done * sizeof(struct user_messages);
        status = one(socket, address, flags & ~MSG_WAITFORONE);
        if (status < 0)
            break;
        uint32_t length = (uint32_t)status;
        if (copy_to_user(address + offsetof(struct user_messages, length), &length, sizeof length) != 0) {
            status = -EFAULT;
            break;
        }
        if (flags & MSG_WAITFORONE)
            flags |= MSG_DONTWAIT;
        if (deadline != HAL_FOREVER && hal_clock_monotonic() >= deadline) {
            done++;
            break;
        }
    }
    return put(socket, done ? done : status);
}

static int64_t sys_sendmmsg(const uint64_t *a) {
    return many(a, send_message, HAL_FOREVER);
}
SYSCALL(307, sendmmsg, sys_sendmmsg, net);

static int64_t sys_recvmmsg(const uint64_t *a) {
    int64_t time[2];
    if (!a[4])
        return many(a, receive_message, HAL_FOREVER);
    if (copy_from_user(time, a[4], sizeof time) != 0)
        return -EFAULT;
    if (time[0] < 0 || time[1] < 0 || time[1] >= 1000000000)
        return -EINVAL;
    return many(a, receive_message, deadline_after(time[0] > 1000000000 ? HAL_FOREVER : (uint64_t)(time[0] * 1000000000 + time[1])));
}
SYSCALL(299, recvmmsg, sys_recvmmsg, net);
