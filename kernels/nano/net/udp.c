/*
 * UDP sockets.
 */
#include "lwip/ip.h"
#include "lwip/udp.h"
#include "hal/clock.h"
#include "nano/heap.h"
#include "nano/thread.h"
#include "net/net.h"
#include "net/socket.h"

#define DATAGRAM_MAX 65507
#define OVERHEAD 256 /* what a queued datagram counts beside its bytes */
#define RETRY_NS 1000000u

static void received(void *argument, struct udp_pcb *pcb, struct pbuf *data, const ip_addr_t *address, u16_t port) {
    (void)pcb;
    struct socket *socket = argument;
    size_t cost = data->tot_len + OVERHEAD;
    struct datagram *datagram =
        socket->shut_read || socket->received_bytes + cost > socket->receive_buffer ? NULL : net_memory_alloc(sizeof *datagram);
    if (!datagram) {
        pbuf_free(data);
        return;
    }
    *datagram = (struct datagram){.data = data, .from = {*address, port}};
    if (socket->datagrams)
        socket->datagrams_last->next = datagram;
    else
        socket->datagrams = datagram;
    socket->datagrams_last = datagram;
    socket->received_bytes += cost;
    socket_wake(socket, POLLIN | POLLRDNORM);
}

int udp_socket_create(struct socket *socket) {
    socket->udp = udp_new_ip_type(socket->domain == AF_INET ? IPADDR_TYPE_V4 : socket->v6_only ? IPADDR_TYPE_V6 : IPADDR_TYPE_ANY);
    if (!socket->udp)
        return -ENOBUFS;
    udp_recv(socket->udp, received, socket);
    return 0;
}

static void apply_options(struct socket *socket) {
    if (socket->reuse_address || socket->reuse_port)
        ip_set_option(socket->udp, SOF_REUSEADDR);
    else
        ip_reset_option(socket->udp, SOF_REUSEADDR);
    if (socket->broadcast)
        ip_set_option(socket->udp, SOF_BROADCAST);
    else
        ip_reset_option(socket->udp, SOF_BROADCAST);
}

int udp_socket_bind(struct socket *socket, const struct endpoint *to) {
    if (socket->bound)
        return -EINVAL;
    apply_options(socket);
    if (to->port == 0)
        return socket_bind_random(socket, &to->address);
    int status = socket_error(udp_bind(socket->udp, &to->address, to->port));
    if (status == 0) {
        socket->bound = true;
        socket->local = *to;
    }
    return status;
}

static int bind_if_needed(struct socket *socket) {
    ip_addr_t any;
    if (socket->bound)
        return 0;
    endpoint_any(socket, &any);
    int status = socket_bind_random(socket, &any);
    return status == -EADDRINUSE ? -EAGAIN : status;
}

int udp_socket_connect(struct socket *socket, const struct endpoint *to) {
    if (!to) {
        udp_disconnect(socket->udp);
        socket->state = SOCKET_IDLE;
        return 0;
    }
    ip_addr_t any;
    endpoint_any(socket, &any);
    struct netif *netif = ip_route(&any, &to->address);
    if (!netif)
        return -ENETUNREACH;
    int status = bind_if_needed(socket);
    if (status != 0)
        return status;
    status = socket_error(udp_connect(socket->udp, &to->address, to->port));
    if (status != 0)
        return status;
    socket->state = SOCKET_CONNECTED;
    socket->peer = *to;
    const ip_addr_t *local = ip_netif_get_local_ip(netif, &to->address);
    if (ip_addr_isany(&socket->local.address) && local)
        ip_addr_copy(socket->local.address, *local);
    return 0;
}

int64_t udp_socket_send(struct socket *socket, struct message *message) {
    struct iter *from = message->data;
    size_t size = from->left;
    const struct endpoint *to = message->address ? message->address : socket->state == SOCKET_CONNECTED ? &socket->peer : NULL;
    if (message->flags & MSG_OOB)
        return -EOPNOTSUPP;
    if (socket->shut_write)
        return -EPIPE;
    if (!to)
        return -EDESTADDRREQ;
    if (size > DATAGRAM_MAX)
        return -EMSGSIZE;
    if (to->port == 0)
        return -EINVAL;
    int status = bind_if_needed(socket);
    if (status != 0)
        return status;
    struct endpoint target = *to;
    struct pbuf *data = pbuf_alloc(PBUF_TRANSPORT, (u16_t)size, PBUF_RAM);
    if (!data)
        return -ENOBUFS;
    if (iter_get(from, data->payload, size) < size) {
        pbuf_free(data);
        return -EFAULT;
    }
    apply_options(socket);
    for (;;) {
        err_t error = udp_sendto(socket->udp, data, &target.address, target.port);
        net_settle();
        status = error == ERR_VAL ? -EACCES : socket_error(error);
        if (error != ERR_MEM || message->flags & MSG_DONTWAIT)
            break;
        if (thread_block(deadline_after(RETRY_NS), true) == -ERESTARTSYS) {
            status = -ERESTARTSYS;
            break;
        }
    }
    pbuf_free(data);
    return status == 0 ? (int64_t)size : status == -ENOBUFS ? -EAGAIN : status;
}

static bool readable(void *context) {
    const struct socket *socket = context;
    return socket->datagrams || socket->shut_read || socket->error;
}

int64_t udp_socket_receive(struct socket *socket, struct message *message) {
    bool real_length = message->flags & MSG_TRUNC;
    if (message->flags & MSG_OOB)
        return -EOPNOTSUPP;
    if (socket->error)
        return socket_take_error(socket);
    while (!socket->datagrams) {
        if (socket->shut_read)
            return 0;
        int64_t status = socket_deadline_wait(socket, readable, socket->receive_timeout, message->flags);
        if (status != 0)
            return status;
    }
    struct datagram *datagram = socket->datagrams;
    struct pbuf *data = datagram->data;
    size_t size = data->tot_len, left = size < message->data->left ? size : message->data->left, copied = left;
    if (message->address)
        *message->address = datagram->from;
    message->whole = size;
    message->flags = (message->flags & ~MSG_TRUNC) | (size > left ? MSG_TRUNC : 0);
    bool failed = false;
    /* Held, or taken, before the copy, which may block. */
    if (message->flags & MSG_PEEK) {
        pbuf_ref(data);
    } else {
        socket->datagrams = datagram->next;
        socket->received_bytes -= size + OVERHEAD;
        kfree(datagram);
    }
    for (struct pbuf *at = data; at && left && !failed; at = at->next) {
        size_t now = at->len < left ? at->len : left;
        failed = iter_put(message->data, at->payload, now) < now;
        left -= now;
    }
    pbuf_free(data);
    return failed ? -EFAULT : real_length ? (int64_t)size : (int64_t)copied;
}

int udp_socket_shutdown(struct socket *socket, int how) {
    if (socket->state != SOCKET_CONNECTED)
        return -ENOTCONN;
    if (how != SHUT_WR)
        socket->shut_read = true;
    if (how != SHUT_RD)
        socket->shut_write = true;
    socket_wake(socket, POLLIN | POLLOUT | POLLRDHUP | (socket->shut_read && socket->shut_write ? POLLHUP : 0));
    return 0;
}

unsigned udp_socket_poll(struct socket *socket) {
    unsigned events = POLLOUT | POLLWRNORM | (socket->error ? POLLERR : 0);
    if (socket->datagrams)
        events |= POLLIN | POLLRDNORM;
    if (socket->shut_read)
        events |= POLLIN | POLLRDNORM | POLLRDHUP | (socket->shut_write ? POLLHUP : 0);
    return events;
}

void udp_socket_release(struct socket *socket) {
    udp_remove(socket->udp);
    for (struct datagram *at = socket->datagrams, *next; at; at = next) {
        next = at->next;
        pbuf_free(at->data);
        kfree(at);
    }
    kfree(socket);
}
