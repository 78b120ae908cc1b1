/*
 * Sockets as open files, and what TCP and UDP share.
 */
#include "net/socket.h"

#include "hal/clock.h"
#include "nano/heap.h"
#include "nano/timer.h"
#include "net/net.h"

#define FIONREAD 0x541b
#define TIOCOUTQ 0x5411
/* Linux's net.ipv4.ip_local_port_range. */
#define PORT_FIRST 32768u
#define PORT_COUNT 28232u
#define PORT_TRIES 64

void socket_wake(struct socket *socket, unsigned events) {
    if (socket->file)
        waitq_wake(&socket->file->waitq, events);
}

int64_t socket_deadline_wait(struct socket *socket, bool (*ready)(void *), uint64_t timeout, unsigned flags) {
    if (ready(socket))
        return 0;
    if (flags & MSG_DONTWAIT)
        return -EAGAIN;
    int status = wait_until(&socket->file->waitq, ready, socket, timeout ? deadline_after(timeout) : HAL_FOREVER);
    /* With a timeout the call is not made again after a signal: it would wait anew (signal(7)). */
    return status == -ETIMEDOUT ? -EAGAIN : status == -ERESTARTSYS && timeout ? -EINTR : status;
}

int socket_error(err_t error) {
    switch (error) {
    case ERR_OK:
        return 0;
    case ERR_MEM:
    case ERR_BUF:
        return -ENOBUFS;
    case ERR_TIMEOUT:
        return -ETIMEDOUT;
    case ERR_RTE:
        return -ENETUNREACH;
    case ERR_INPROGRESS:
        return -EINPROGRESS;
    case ERR_USE:
        return -EADDRINUSE;
    case ERR_ALREADY:
        return -EALREADY;
    case ERR_ISCONN:
        return -EISCONN;
    case ERR_CONN:
    case ERR_CLSD:
        return -ENOTCONN;
    case ERR_IF:
        return -ENETDOWN;
    case ERR_ABRT:
        return -ECONNABORTED;
    case ERR_RST:
        return -ECONNRESET;
    default:
        return -EINVAL;
    }
}

int socket_take_error(struct socket *socket) {
    int error = socket->error;
    socket->error = 0;
    return -error;
}

/* Random ports make a connection hard to guess for who cannot see it (RFC 6056, algorithm 1). */
int socket_bind_random(struct socket *socket, const ip_addr_t *address) {
    for (unsigned i = 0; i < PORT_TRIES; i++) {
        uint16_t port = (uint16_t)(PORT_FIRST + net_random32() % PORT_COUNT);
        err_t error = socket->type == SOCK_STREAM ? tcp_bind(socket->tcp, address, port) : udp_bind(socket->udp, address, port);
        if (error == ERR_OK) {
            socket->bound = true;
            socket->local = (struct endpoint){*address, port};
            return 0;
        }
        if (error != ERR_USE)
            return socket_error(error);
    }
    return -EADDRINUSE;
}

struct socket *socket_create(int domain, int type) {
    struct socket *socket = kzalloc(sizeof *socket);
    if (!socket)
        return NULL;
    socket->domain = (uint8_t)domain;
    socket->type = (uint8_t)type;
    socket->receive_buffer = SOCKET_BUFFER_DEFAULT;
    list_init(&socket->queue);
    list_init(&socket->queued);
    endpoint_any(socket, &socket->local.address);
    if ((type == SOCK_STREAM ? tcp_socket_create(socket) : udp_socket_create(socket)) != 0) {
        kfree(socket);
        return NULL;
    }
    return socket;
}

static unsigned wait_flags(const struct file *file) {
    return file->flags & O_NONBLOCK ? MSG_DONTWAIT : 0;
}

static int64_t socket_read(struct file *file, struct iter *to, uint64_t offset) {
    (void)offset;
    struct socket *socket = file->data;
    struct message message = {.data = to, .flags = wait_flags(file)};
    if (to->left == 0)
        return 0;
    return socket->type == SOCK_STREAM ? tcp_socket_receive(socket, &message) : udp_socket_receive(socket, &message);
}

static int64_t socket_write(struct file *file, struct iter *from, uint64_t offset) {
    (void)offset;
    struct socket *socket = file->data;
    struct message message = {.data = from, .flags = wait_flags(file)};
    return socket->type == SOCK_STREAM ? tcp_socket_send(socket, &message) : udp_socket_send(socket, &message);
}

static unsigned socket_poll(struct file *file) {
    struct socket *socket = file->data;
    return socket->type == SOCK_STREAM ? tcp_socket_poll(socket) : udp_socket_poll(socket);
}

static int64_t socket_ioctl(struct file *file, unsigned request, uintptr_t argument) {
    struct socket *socket = file->data;
    int value;
    switch (request) {
    case FIONREAD:
        if (socket->state == SOCKET_LISTENING)
            return -EINVAL;
        if (socket->type == SOCK_STREAM)
            value = (int)socket->received_bytes;
        else
            value = socket->datagrams ? (int)socket->datagrams->data->tot_len : 0;
        return copy_to_user(argument, &value, sizeof value);
    case TIOCOUTQ:
        value = socket->type == SOCK_STREAM ? (int)tcp_socket_unsent(socket) : 0;
        return copy_to_user(argument, &value, sizeof value);
    default:
        return -ENOTTY;
    }
}

static int socket_stat(struct file *file, struct stat64 *stat) {
    *stat = (struct stat64){.dev = 8, .ino = (uintptr_t)file >> 4 & UINT32_MAX, .nlink = 1, .mode = S_IFSOCK | 0777, .blksize = 4096};
    return 0;
}

static void socket_release(struct file *file) {
    struct socket *socket = file->data;
    if (socket->type == SOCK_STREAM)
        tcp_socket_release(socket);
    else
        udp_socket_release(socket);
}

const struct file_ops socket_file_ops = {
    .read = socket_read,
    .write = socket_write,
    .poll = socket_poll,
    .ioctl = socket_ioctl,
    .stat = socket_stat,
    .release = socket_release,
    .is_socket = true,
};
