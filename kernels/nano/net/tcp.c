/*
 * TCP sockets: the life of a connection. The queues of bytes are in tcp_data.c, listeners in tcp_listen.c.
 */
#include "hal/clock.h"
#include "lwip/ip.h"
#include "lwip/priv/tcp_priv.h"
#include "nano/heap.h"
#include "nano/process.h"
#include "nano/thread.h"
#include "net/net.h"
#include "net/socket.h"

#define POLL_INTERVAL 2 /* of lwIP's slow timer: 0.4 s */
#define LWIP_RTO_FIRST (3000 / TCP_SLOW_INTERVAL)
#define RTO_FIRST (1000 / TCP_SLOW_INTERVAL)
#define LINGER_STEP_NS 10000000u

/* RFC 6298, section 2.1: one second until something was measured; lwIP starts with three. */
static void set_first_timeout(struct tcp_pcb *pcb) {
    if (pcb->sa == 0 && pcb->rto == LWIP_RTO_FIRST)
        pcb->rto = pcb->sv = RTO_FIRST;
}

int tcp_socket_create(struct socket *socket) {
    socket->tcp = tcp_new_ip_type(socket->domain == AF_INET ? IPADDR_TYPE_V4 : socket->v6_only ? IPADDR_TYPE_V6 : IPADDR_TYPE_ANY);
    if (!socket->tcp)
        return -ENOBUFS;
    tcp_arg(socket->tcp, socket);
    set_first_timeout(socket->tcp);
    socket->state = SOCKET_IDLE;
    socket->bound = false;
    return 0;
}

/* lwIP goes on alone with the pcb; it calls us no more. */
static void let_go(struct socket *socket) {
    struct tcp_pcb *pcb = socket->tcp;
    tcp_arg(pcb, NULL);
    tcp_recv(pcb, NULL);
    tcp_sent(pcb, NULL);
    tcp_err(pcb, NULL);
    tcp_poll(pcb, NULL, 0);
    socket->tcp = NULL;
}

static err_t received(void *argument, struct tcp_pcb *pcb, struct pbuf *data, err_t error) {
    struct socket *socket = argument;
    (void)pcb;
    (void)error;
    if (data) {
        tcp_queue_receive(socket, data);
        socket_wake(socket, POLLIN | POLLRDNORM);
        return ERR_OK;
    }
    socket->fin = true;
    if (socket->shut_write) {
        /* Both directions are closed: what is left (TIME_WAIT) ends without a word to us. */
        let_go(socket);
        socket->state = SOCKET_CLOSED;
    }
    socket_wake(socket, POLLIN | POLLRDNORM | POLLRDHUP | (socket->shut_write ? POLLHUP : 0));
    return ERR_OK;
}

static bool writable(const struct socket *socket) {
    size_t limit = socket->send_buffer && socket->send_buffer < TCP_SND_BUF ? socket->send_buffer : TCP_SND_BUF;
    size_t queued = TCP_SND_BUF - socket->tcp->snd_buf;
    return queued < limit && limit - queued >= queued / 2 && socket->tcp->snd_queuelen < TCP_SND_QUEUELEN / 2;
}

static void tell_writers(struct socket *socket) {
    if (socket->starved && socket->tcp && writable(socket)) {
        socket->starved = false;
        socket_wake(socket, POLLOUT | POLLWRNORM);
    }
}

static err_t sent(void *argument, struct tcp_pcb *pcb, u16_t length) {
    (void)pcb;
    (void)length;
    tell_writers(argument);
    return ERR_OK;
}

/* From time to time: what a cork held back too long, and writers whom a lack of memory stopped. */
static err_t poll_connection(void *argument, struct tcp_pcb *pcb) {
    if (pcb->unsent && !pcb->unacked)
        tcp_output(pcb);
    tell_writers(argument);
    return ERR_OK;
}

static void failed(void *argument, err_t error) {
    struct socket *socket = argument;
    socket->tcp = NULL; /* freed by lwIP */
    if (error != ERR_CLSD)
        socket->error = error != ERR_RST ? ETIMEDOUT : socket->state == SOCKET_CONNECTING ? ECONNREFUSED : ECONNRESET;
    socket->state = SOCKET_CLOSED;
    socket->fin = true;
    socket_wake(socket, POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM | POLLRDHUP | POLLHUP | (socket->error ? POLLERR : 0));
}

void tcp_socket_adopt(struct socket *socket, struct tcp_pcb *pcb) {
    socket->tcp = pcb;
    socket->state = SOCKET_CONNECTED;
    socket->bound = true;
    ip_addr_copy(socket->local.address, pcb->local_ip);
    ip_addr_copy(socket->peer.address, pcb->remote_ip);
    socket->local.port = pcb->local_port;
    socket->peer.port = pcb->remote_port;
    set_first_timeout(pcb);
    tcp_arg(pcb, socket);
    tcp_recv(pcb, received);
    tcp_sent(pcb, sent);
    tcp_err(pcb, failed);
    tcp_poll(pcb, poll_connection, POLL_INTERVAL);
    tcp_socket_apply_options(socket);
}

void tcp_socket_apply_options(struct socket *socket) {
    struct tcp_pcb *pcb = socket->tcp;
    if (!pcb)
        return;
    if (socket->reuse_address)
        ip_set_option(pcb, SOF_REUSEADDR);
    else
        ip_reset_option(pcb, SOF_REUSEADDR);
    if (socket->state == SOCKET_LISTENING)
        return;
    if (socket->keep_alive)
        ip_set_option(pcb, SOF_KEEPALIVE);
    else
        ip_reset_option(pcb, SOF_KEEPALIVE);
    if (socket->keep_idle)
        pcb->keep_idle = socket->keep_idle * 1000;
    if (socket->keep_interval)
        pcb->keep_intvl = socket->keep_interval * 1000;
    if (socket->keep_count)
        pcb->keep_cnt = socket->keep_count;
    if (socket->no_delay)
        tcp_nagle_disable(pcb);
    else
        tcp_nagle_enable(pcb);
}

/* SO_REUSEADDR lets nobody bind where another socket listens. */
static bool listened_on(const struct endpoint *to) {
    for (const struct tcp_pcb_listen *at = tcp_listen_pcbs.listen_pcbs; at; at = at->next) {
        bool one_family = IP_IS_ANY_TYPE_VAL(at->local_ip) || IP_IS_ANY_TYPE_VAL(to->address) || IP_IS_V6_VAL(at->local_ip) == IP_IS_V6_VAL(to->address);
        if (at->local_port == to->port && one_family &&
            (ip_addr_isany(&at->local_ip) || ip_addr_isany(&to->address) || ip_addr_cmp(&at->local_ip, &to->address)))
            return true;
    }
    return false;
}

int tcp_socket_bind(struct socket *socket, const struct endpoint *to) {
    if (!socket->tcp || socket->bound)
        return -EINVAL;
    if (to->port && listened_on(to))
        return -EADDRINUSE;
    tcp_socket_apply_options(socket);
    if (to->port == 0)
        return socket_bind_random(socket, &to->address);
    int status = socket_error(tcp_bind(socket->tcp, &to->address, to->port));
    if (status == 0) {
        socket->bound = true;
        socket->local = *to;
    }
    return status;
}

static err_t connected(void *argument, struct tcp_pcb *pcb, err_t error) {
    (void)error;
    tcp_socket_adopt(argument, pcb);
    socket_wake(argument, POLLOUT | POLLWRNORM);
    return ERR_OK;
}

static bool settled(void *context) {
    return ((struct socket *)context)->state != SOCKET_CONNECTING;
}

static int start_connecting(struct socket *socket, const struct endpoint *to) {
    ip_addr_t any;
    int status = 0;
    endpoint_any(socket, &any);
    if (!socket->tcp && (status = tcp_socket_create(socket)) != 0)
        return status;
    socket->fin = socket->shut_write = false;
    /* A route must be there before a port is taken. */
    if (!ip_route(&any, &to->address))
        return -ENETUNREACH;
    if (!socket->bound && (status = socket_bind_random(socket, &any)) != 0)
        return status == -EADDRINUSE ? -EADDRNOTAVAIL : status;
    tcp_err(socket->tcp, failed);
    socket->state = SOCKET_CONNECTING;
    socket->peer = *to;
    err_t error = tcp_connect(socket->tcp, &to->address, to->port, connected);
    if (error != ERR_OK) {
        socket->state = SOCKET_IDLE;
        return error == ERR_USE ? -EADDRNOTAVAIL : socket_error(error);
    }
    ip_addr_copy(socket->local.address, socket->tcp->local_ip);
    net_settle();
    return 0;
}

int tcp_socket_connect(struct socket *socket, const struct endpoint *to, bool wait) {
    int status;
    switch (socket->state) {
    case SOCKET_CONNECTED:
        if (socket->connect_untold) {
            socket->connect_untold = false;
            return 0;
        }
        return -EISCONN;
    case SOCKET_LISTENING:
        return -EISCONN;
    case SOCKET_CONNECTING:
        if (!wait)
            return -EALREADY;
        break;
    case SOCKET_CLOSED:
        if ((status = socket_take_error(socket)) != 0)
            return status;
        __attribute__((fallthrough)); /* the same socket may try again */
    case SOCKET_IDLE:
        if ((status = start_connecting(socket, to)) != 0)
            return status;
        socket->connect_untold = true;
        if (!wait && socket->state != SOCKET_CONNECTED)
            return -EINPROGRESS;
        break;
    }
    int64_t waited = socket_deadline_wait(socket, settled, socket->send_timeout, 0);
    if (waited != 0)
        return waited == -EAGAIN ? -EINPROGRESS : (int)waited;
    socket->connect_untold = false;
    if (socket->state == SOCKET_CONNECTED)
        return 0;
    status = socket_take_error(socket);
    return status ? status : -ECONNABORTED;
}

/* Frees what was received and not read. */
static void drop_received(struct socket *socket) {
    for (struct pbuf *at = socket->received, *next; at; at = next) {
        next = at->next;
        at->next = NULL;
        pbuf_free(at);
    }
    socket->received = NULL;
    socket->received_bytes = socket->offset = 0;
}

int tcp_socket_disconnect(struct socket *socket) {
    if (socket->state == SOCKET_LISTENING)
        tcp_socket_shutdown(socket, SHUT_RDWR);
    struct tcp_pcb *pcb = socket->tcp;
    if (pcb) {
        let_go(socket);
        tcp_abort(pcb);
        net_settle();
    }
    drop_received(socket);
    socket->error = 0;
    socket->fin = socket->shut_read = socket->shut_write = socket->connect_untold = false;
    socket->state = SOCKET_CLOSED;
    socket->local = (struct endpoint){0};
    endpoint_any(socket, &socket->local.address);
    socket_wake(socket, POLLIN | POLLOUT | POLLHUP);
    return tcp_socket_create(socket);
}

int tcp_socket_shutdown(struct socket *socket, int how) {
    if (socket->state == SOCKET_LISTENING) {
        if (how == SHUT_WR)
            return 0;
        /* As Linux: the socket listens no more; accept() ends; who was not accepted is reset, and not waited for. */
        struct socket *child;
        while (tcp_socket_accept(socket, MSG_DONTWAIT, &child) == 0) {
            child->linger = true;
            child->linger_seconds = 0;
            tcp_socket_release(child);
        }
        tcp_arg(socket->tcp, NULL);
        tcp_close(socket->tcp);
        socket->tcp = NULL;
        socket->state = SOCKET_CLOSED;
        socket_wake(socket, POLLIN | POLLHUP);
        return 0;
    }
    if (socket->state != SOCKET_CONNECTED)
        return -ENOTCONN;
    if (how != SHUT_WR)
        socket->shut_read = true;
    if (how != SHUT_RD && !socket->shut_write) {
        socket->shut_write = true;
        if (socket->tcp) {
            tcp_shutdown(socket->tcp, 0, 1);
            if (socket->fin && socket->tcp) {
                let_go(socket);
                socket->state = SOCKET_CLOSED;
            }
            net_settle();
        }
    }
    socket_wake(socket, (socket->shut_read ? POLLIN | POLLRDNORM | POLLRDHUP : 0) | (socket->shut_write ? POLLOUT | POLLWRNORM : 0) |
                            (socket->shut_write && (socket->shut_read || socket->fin) ? POLLHUP : 0));
    return 0;
}

unsigned tcp_socket_poll(struct socket *socket) {
    unsigned events = socket->error ? POLLERR : 0;
    bool no_reads = socket->fin || socket->shut_read;
    switch (socket->state) {
    case SOCKET_LISTENING:
        return events | (list_empty(&socket->queue) ? 0 : POLLIN | POLLRDNORM);
    case SOCKET_CONNECTING:
        return events;
    case SOCKET_IDLE:
        return events | POLLOUT | POLLWRNORM | POLLHUP;
    case SOCKET_CONNECTED:
    case SOCKET_CLOSED:
        break;
    }
    if ((no_reads && socket->shut_write) || socket->state == SOCKET_CLOSED)
        events |= POLLHUP;
    if (no_reads || socket->state == SOCKET_CLOSED)
        events |= POLLIN | POLLRDNORM | POLLRDHUP;
    if (socket->received_bytes)
        events |= POLLIN | POLLRDNORM;
    if (socket->shut_write || !socket->tcp || writable(socket))
        events |= POLLOUT | POLLWRNORM;
    else
        socket->starved = true;
    return events;
}

size_t tcp_socket_unsent(const struct socket *socket) {
    return socket->tcp && socket->state == SOCKET_CONNECTED ? TCP_SND_BUF - socket->tcp->snd_buf : 0;
}

/* SO_LINGER with a time: close() waits until the peer has everything. As Linux, only where the program goes on. */
static void linger(struct socket *socket) {
    uint64_t deadline = deadline_after(socket->linger_seconds * 1000000000ull);
    tcp_shutdown(socket->tcp, 0, 1);
    socket->shut_write = true;
    net_settle();
    while (!process.ending && socket->tcp && (socket->tcp->unsent || socket->tcp->unacked) && hal_clock_monotonic() < deadline)
        if (thread_block(deadline_after(LINGER_STEP_NS), true) == -ERESTARTSYS)
            break;
}

void tcp_socket_release(struct socket *socket) {
    if (socket->state == SOCKET_LISTENING)
        tcp_socket_shutdown(socket, SHUT_RDWR);
    if (socket->tcp && socket->state == SOCKET_CONNECTED && socket->linger && socket->linger_seconds && !socket->shut_write)
        linger(socket);
    struct tcp_pcb *pcb = socket->tcp;
    if (pcb) {
        let_go(socket);
        /* RFC 2525, section 2.17: data that nobody will read is answered with a reset. */
        if (socket->received_bytes || (socket->linger && socket->linger_seconds == 0)) {
            tcp_abort(pcb);
        } else {
            /* lwIP takes a window that is not open for unread data. */
            pcb->rcv_wnd = TCP_WND_MAX(pcb);
            if (tcp_close(pcb) != ERR_OK)
                tcp_abort(pcb);
        }
        net_settle();
    }
    drop_received(socket);
    kfree(socket);
}
