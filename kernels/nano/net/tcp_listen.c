/*
 * Listening TCP sockets and their queues of connections.
 */
#include "hal/boot.h"
#include "hal/string.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/prot/ip4.h"
#include "lwip/prot/ip6.h"
#include "lwip/prot/tcp.h"
#include "nano/heap.h"
#include "net/net.h"
#include "net/socket.h"

#define HALF_OPEN_MAX 255 /* lwIP's counter has eight bits */
#define BACKLOG_MAX 4096  /* Linux's net.core.somaxconn */
#define TIME_WAIT_MAX 128
#define TRIM_EVERY 16

/*
 * TIME_WAIT would keep a pcb for a minute; so many a second would take all memory, and each packet of a new connection
 * walks the list. The newest ones stay, they are the ones whose segments may still be on the way.
 */
static void trim_time_wait(void) {
    static unsigned calls;
    if (++calls % TRIM_EVERY)
        return;
    struct tcp_pcb *pcb = tcp_tw_pcbs;
    for (unsigned i = 0; pcb && i < TIME_WAIT_MAX; i++)
        pcb = pcb->next;
    while (pcb) {
        struct tcp_pcb *next = pcb->next;
        tcp_abort(pcb);
        pcb = next;
    }
}

static err_t arrived(void *argument, struct tcp_pcb *pcb, err_t error) {
    struct socket *listener = argument;
    trim_time_wait();
    if (error != ERR_OK || !pcb || !listener || listener->waiting > listener->backlog)
        return ERR_MEM;
    struct socket *socket = kzalloc(sizeof *socket);
    if (!socket)
        return ERR_MEM;
    socket->domain = listener->domain;
    socket->type = listener->type;
    socket->reuse_address = listener->reuse_address;
    socket->keep_alive = listener->keep_alive;
    socket->no_delay = listener->no_delay;
    socket->linger = listener->linger;
    socket->linger_seconds = listener->linger_seconds;
    socket->receive_buffer = listener->receive_buffer;
    socket->send_buffer = listener->send_buffer;
    socket->receive_timeout = listener->receive_timeout;
    socket->send_timeout = listener->send_timeout;
    socket->keep_idle = listener->keep_idle;
    socket->keep_interval = listener->keep_interval;
    socket->keep_count = listener->keep_count;
    list_init(&socket->queue);
    list_push_back(&listener->queue, &socket->queued);
    listener->waiting++;
    tcp_socket_adopt(socket, pcb);
    socket_wake(listener, POLLIN | POLLRDNORM);
    return ERR_OK;
}

/* So the host knows when it is worth asking. */
static void tell(uint16_t port) {
    char line[16];
    hal_format(line, sizeof line, "listen %u", port);
    hal_control_send(line);
}

int tcp_socket_listen(struct socket *socket, int backlog) {
    unsigned wanted = backlog < 0 || backlog > BACKLOG_MAX ? BACKLOG_MAX : (unsigned)backlog;
    if (socket->state == SOCKET_LISTENING) {
        socket->backlog = wanted;
        return 0;
    }
    /* A connection that was refused, or has ended, leaves a socket that may be used again. */
    int status = socket->state == SOCKET_CLOSED ? tcp_socket_disconnect(socket) : 0;
    if (status != 0)
        return status;
    if (socket->state != SOCKET_IDLE || !socket->tcp)
        return -EINVAL;
    if (!socket->bound) {
        ip_addr_t any;
        endpoint_any(socket, &any);
        status = socket_bind_random(socket, &any);
        if (status != 0)
            return status;
    }
    tcp_socket_apply_options(socket);
    err_t error;
    struct tcp_pcb *pcb = tcp_listen_with_backlog_and_err(socket->tcp, HALF_OPEN_MAX, &error);
    if (!pcb)
        return socket_error(error);
    socket->tcp = pcb;
    socket->state = SOCKET_LISTENING;
    socket->backlog = wanted;
    tcp_arg(pcb, socket);
    tcp_accept(pcb, arrived);
    tell(pcb->local_port);
    return 0;
}

static bool acceptable(void *context) {
    const struct socket *socket = context;
    return !list_empty(&socket->queue) || socket->state != SOCKET_LISTENING;
}

int64_t tcp_socket_accept(struct socket *socket, unsigned flags, struct socket **accepted) {
    if (socket->state != SOCKET_LISTENING)
        return -EINVAL;
    if (list_empty(&socket->queue)) {
        int64_t status = socket_deadline_wait(socket, acceptable, socket->receive_timeout, flags);
        if (status != 0)
            return status;
        if (list_empty(&socket->queue))
            return -EINVAL;
    }
    struct socket *child = CONTAINER(socket->queue.next, struct socket, queued);
    list_remove(&child->queued);
    socket->waiting--;
    *accepted = child;
    return 0;
}

/*
 * A SYN for a connection in TIME_WAIT, with a sequence number beyond all that was received, begins a new one (RFC 1122,
 * section 4.2.2.13): the old one goes, and lwIP, which would reset or ignore it, finds the listener. A SYN with a wrong
 * checksum may so end a TIME_WAIT early; it begins nothing. `tcp` is a whole header.
 */
static void end_time_wait(const struct tcp_hdr *tcp, const ip_addr_t *source, const ip_addr_t *destination) {
    if ((TCPH_FLAGS(tcp) & (TCP_SYN | TCP_ACK | TCP_RST)) != TCP_SYN)
        return;
    u16_t from = lwip_ntohs(tcp->src), to = lwip_ntohs(tcp->dest);
    for (struct tcp_pcb *pcb = tcp_tw_pcbs; pcb; pcb = pcb->next)
        if (pcb->remote_port == from && pcb->local_port == to && ip_addr_cmp_zoneless(&pcb->remote_ip, source) &&
            ip_addr_cmp_zoneless(&pcb->local_ip, destination)) {
            if (TCP_SEQ_GT(lwip_ntohl(tcp->seqno), pcb->rcv_nxt))
                tcp_abort(pcb);
            break;
        }
}

int net_ip4_input(struct pbuf *packet) {
    const struct ip_hdr *ip = packet->payload;
    if (!tcp_tw_pcbs || packet->len < IP_HLEN || IPH_PROTO(ip) != IP_PROTO_TCP || IPH_OFFSET(ip) & PP_HTONS(IP_OFFMASK))
        return 0;
    size_t header = IPH_HL_BYTES(ip);
    if (header < IP_HLEN || packet->len < header + TCP_HLEN)
        return 0;
    ip_addr_t source, destination;
    ip_addr_copy_from_ip4(source, ip->src);
    ip_addr_copy_from_ip4(destination, ip->dest);
    end_time_wait((const void *)((const uint8_t *)packet->payload + header), &source, &destination);
    return 0;
}

/* Of a packet with extension headers only lwIP knows where its segment begins; no SYN has them. */
int net_ip6_input(struct pbuf *packet) {
    const struct ip6_hdr *ip = packet->payload;
    if (!tcp_tw_pcbs || packet->len < IP6_HLEN + TCP_HLEN || IP6H_NEXTH(ip) != IP6_NEXTH_TCP)
        return 0;
    ip_addr_t source, destination;
    ip_addr_copy_from_ip6_packed(source, ip->src);
    ip_addr_copy_from_ip6_packed(destination, ip->dest);
    end_time_wait((const void *)((const uint8_t *)packet->payload + IP6_HLEN), &source, &destination);
    return 0;
}
