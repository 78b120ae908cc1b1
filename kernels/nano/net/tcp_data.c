/*
 * The bytes of TCP connections: from the program to segments with one copy (none where they never change), and from
 * received packets to the program with one copy.
 */
#include "hal/clock.h"
#include "hal/string.h"
#include "lwip/inet_chksum.h"
#include "lwip/memp.h"
#include "lwip/priv/tcp_priv.h"
#include "nano/thread.h"
#include "net/net.h"
#include "net/socket.h"

#define ROUND_MAX 65536 /* bytes put into the queue before they are sent */
#define MEMORY_WAIT_NS 10000000u

void tcp_queue_receive(struct socket *socket, struct pbuf *data) {
    /* The chain becomes single pbufs, so that each can be freed when it was read. */
    for (struct pbuf *next; data; data = next) {
        next = data->next;
        data->next = NULL;
        data->tot_len = data->len;
        if (data->len == 0) {
            pbuf_free(data);
            continue;
        }
        socket->received_bytes += data->len;
        if (socket->received)
            socket->received_last->next = data;
        else
            socket->received = data;
        socket->received_last = data;
    }
}

/* Takes up to `wanted` bytes from the front of the queue: claimed before the copy, which may block. -EFAULT, or bytes. */
static int64_t take(struct socket *socket, struct iter *to, bool discard) {
    struct pbuf *pbuf = socket->received;
    size_t offset = socket->offset, size = pbuf->len - offset;
    bool whole = size <= to->left;
    if (!whole)
        size = to->left;
    socket->received_bytes -= size;
    if (whole) {
        socket->received = pbuf->next;
        socket->offset = 0;
        pbuf->next = NULL;
    } else {
        socket->offset += size;
        pbuf_ref(pbuf);
    }
    size_t done = size;
    if (discard)
        iter_advance(to, size);
    else
        done = iter_put(to, (uint8_t *)pbuf->payload + offset, size);
    if (done < size) {
        /* What could not be copied goes back, unless another thread has read on in the meantime. */
        if (whole && socket->offset == 0) {
            pbuf->next = socket->received;
            if (!socket->received)
                socket->received_last = pbuf;
            socket->received = pbuf;
            socket->offset = offset + done;
            socket->received_bytes += size - done;
            return done ? (int64_t)done : -EFAULT;
        }
        if (!whole && socket->received == pbuf && socket->offset == offset + size) {
            socket->offset = offset + done;
            socket->received_bytes += size - done;
        }
    }
    pbuf_free(pbuf);
    return done ? (int64_t)done : -EFAULT;
}

/* Copies from the front of the queue without taking. */
static int64_t peek(struct socket *socket, struct iter *to) {
    int64_t total = 0;
    size_t offset = socket->offset, bytes = socket->received_bytes;
    for (struct pbuf *pbuf = socket->received, *next; pbuf && to->left; pbuf = next) {
        size_t size = pbuf->len - offset < to->left ? pbuf->len - offset : to->left;
        pbuf_ref(pbuf);
        size_t done = iter_put(to, (uint8_t *)pbuf->payload + offset, size);
        /* If it blocked and someone read meanwhile, the rest of the list is no longer what follows. */
        next = done == size && socket->received_bytes >= bytes ? pbuf->next : NULL;
        pbuf_free(pbuf);
        total += (int64_t)done;
        offset = 0;
        if (done < size)
            return total ? total : -EFAULT;
    }
    return total;
}

static bool readable(void *context) {
    const struct socket *socket = context;
    return socket->received_bytes || socket->fin || socket->shut_read || socket->error || socket->state == SOCKET_CLOSED;
}

int64_t tcp_socket_receive(struct socket *socket, struct message *message) {
    struct iter *to = message->data;
    int64_t total = 0;
    bool discard = message->flags & MSG_TRUNC, all = message->flags & MSG_WAITALL && !(message->flags & MSG_PEEK);
    message->flags &= ~MSG_TRUNC;
    if (message->flags & MSG_OOB)
        return -EINVAL;
    if (socket->state == SOCKET_IDLE || socket->state == SOCKET_LISTENING)
        return socket->error ? socket_take_error(socket) : -ENOTCONN;
    /* Who asks for no bytes still waits until there are some (recv(2); read(2) does not come here). */
    bool asked = to->left > 0;
    while (to->left || !asked) {
        if (socket->received_bytes && !asked)
            return 0;
        if (socket->received_bytes && message->flags & MSG_PEEK)
            return peek(socket, to);
        if (socket->received_bytes) {
            int64_t done = take(socket, to, discard);
            if (done < 0)
                return total ? total : done;
            total += done;
            for (size_t left = (size_t)done; left && socket->tcp && socket->state == SOCKET_CONNECTED;) {
                u16_t now = left > UINT16_MAX ? UINT16_MAX : (u16_t)left;
                tcp_recved(socket->tcp, now);
                left -= now;
            }
            net_settle();
            continue;
        }
        if (total && !all)
            break;
        if (socket->error)
            return total ? total : socket_take_error(socket);
        if (socket->fin || socket->shut_read || socket->state == SOCKET_CLOSED)
            break;
        int64_t status = socket_deadline_wait(socket, readable, socket->receive_timeout, message->flags);
        if (status != 0)
            return total ? total : status;
    }
    return total;
}

/* Bytes that may be added to the send queue now. */
static size_t send_room(const struct socket *socket) {
    const struct tcp_pcb *pcb = socket->tcp;
    size_t limit = socket->send_buffer && socket->send_buffer < TCP_SND_BUF ? socket->send_buffer : TCP_SND_BUF;
    size_t queued = TCP_SND_BUF - pcb->snd_buf;
    if (pcb->snd_queuelen >= TCP_SND_QUEUELEN - 4)
        return 0;
    return queued < limit ? limit - queued : 0;
}

/* As tcp_write() limits segments: to the MSS, and to half of the largest window that the peer ever offered. */
static size_t segment_limit(const struct tcp_pcb *pcb) {
    size_t limit = LWIP_MIN(pcb->mss, TCPWND_MIN16(pcb->snd_wnd_max / 2));
    return limit ? limit : pcb->mss;
}

/*
 * One segment with the next bytes, `room` bytes large in its own memory. NULL: no memory, or the bytes could not be read
 * (*fault). The TCP header comes later, when it is certain that the segment is used.
 */
static struct tcp_seg *make_segment(struct iter *from, size_t size, size_t room, bool *fault) {
    const void *data = from->kernel ? (const void *)(from->segments->base + from->offset) : NULL;
    bool stable = data && from->segments->length - from->offset >= size && net_memory_is_stable(data, size);
    struct tcp_seg *segment = memp_malloc(MEMP_TCP_SEG);
    struct pbuf *pbuf = segment ? pbuf_alloc(PBUF_TRANSPORT, (u16_t)(stable ? 0 : room), PBUF_RAM) : NULL;
    if (pbuf && stable) {
        struct pbuf *reference = pbuf_alloc(PBUF_RAW, (u16_t)size, PBUF_ROM);
        if (reference) {
            ((struct pbuf_rom *)reference)->payload = data;
            pbuf_cat(pbuf, reference);
            iter_advance(from, size);
        } else {
            pbuf_free(pbuf);
            pbuf = NULL;
        }
    } else if (pbuf) {
        data = pbuf->payload;
        pbuf->len = pbuf->tot_len = (u16_t)size;
        if (iter_get(from, pbuf->payload, size) < size) {
            *fault = true;
            pbuf_free(pbuf);
            pbuf = NULL;
        }
    }
    if (!pbuf) {
        if (segment)
            memp_free(MEMP_TCP_SEG, segment);
        return NULL;
    }
    *segment = (struct tcp_seg){.p = pbuf, .len = (u16_t)size};
    if (!net_device_checksums()) {
        u16_t sum = net_checksum(data, (int)size);
        segment->chksum = size & 1 ? (u16_t)(sum << 8 | sum >> 8) : sum;
        segment->chksum_swapped = size & 1;
        segment->flags = TF_SEG_DATA_CHECKSUMMED;
    }
    return segment;
}

/* Gives segments their headers and puts them into the queue of what is to be sent. As tcp_write() does it. */
static void enqueue(struct tcp_pcb *pcb, struct tcp_seg *first, size_t oversize, bool push) {
    struct tcp_seg **end = &pcb->unsent;
    while (*end)
        end = &(*end)->next;
    *end = first;
    for (struct tcp_seg *segment = first; segment; segment = segment->next) {
        pcb->snd_queuelen = (u16_t)(pcb->snd_queuelen + pbuf_clen(segment->p));
        pbuf_add_header(segment->p, TCP_HLEN);
        struct tcp_hdr *header = segment->tcphdr = segment->p->payload;
        header->src = lwip_htons(pcb->local_port);
        header->dest = lwip_htons(pcb->remote_port);
        header->seqno = lwip_htonl(pcb->snd_lbb);
        TCPH_HDRLEN_FLAGS_SET(header, TCP_HLEN / 4, segment->next || !push ? 0 : TCP_PSH);
        header->urgp = 0;
        pcb->snd_lbb += segment->len;
        pcb->snd_buf -= segment->len;
    }
    pcb->unsent_oversize = (u16_t)oversize;
}

static void discard_segments(struct tcp_seg *segment) {
    for (struct tcp_seg *next; segment; segment = next) {
        next = segment->next;
        pbuf_free(segment->p);
        memp_free(MEMP_TCP_SEG, segment);
    }
}

/*
 * Whether the connection is still the one that a copy began with. While the copy blocked another thread may have reset it
 * (connect() to AF_UNSPEC), and made a listener of the socket, whose pcb is a smaller one.
 */
static bool goes_on(const struct socket *socket, const struct tcp_pcb *pcb) {
    return socket->tcp == pcb && socket->state == SOCKET_CONNECTED && !socket->shut_write;
}

/* A few bytes behind others that wait: lwIP fills the last segment up. */
static int64_t append_small(struct socket *socket, struct iter *from, size_t size, bool more) {
    uint8_t bytes[TCP_MSS];
    struct iter before = *from;
    const struct tcp_pcb *pcb = socket->tcp;
    size_t got = iter_get(from, bytes, size < sizeof bytes ? size : sizeof bytes);
    if (got == 0)
        return -EFAULT;
    if (!goes_on(socket, pcb)) {
        *from = before;
        return -EPIPE;
    }
    if (tcp_write(socket->tcp, bytes, (u16_t)got, TCP_WRITE_FLAG_COPY | (more ? TCP_WRITE_FLAG_MORE : 0)) != ERR_OK) {
        *from = before;
        return -ENOBUFS;
    }
    return (int64_t)got;
}

/*
 * Puts bytes into the send queue. Nothing of the connection is changed while the program's memory is read, which may
 * block. Bytes, -EFAULT, -ENOBUFS (no memory now), -EPIPE (the connection went meanwhile).
 */
static int64_t append(struct socket *socket, struct iter *from, size_t size, bool more) {
    struct tcp_pcb *pcb = socket->tcp;
    size_t limit = segment_limit(pcb), total = 0, oversize = 0;
    if (pcb->unsent && size < limit)
        return append_small(socket, from, size, more);
    struct tcp_seg *first = NULL, **end = &first;
    bool fault = false;
    struct iter before = *from;
    while (total < size) {
        size_t now = size - total < limit ? size - total : limit;
        /* With more to come the last segment gets room for it. */
        size_t room = more && now < limit && total + now == size ? limit : now;
        struct tcp_seg *segment = make_segment(from, now, room, &fault);
        if (!segment)
            break;
        oversize = segment->p->next ? 0 : room - now;
        *end = segment;
        end = &segment->next;
        total += now;
    }
    if (!goes_on(socket, pcb)) {
        discard_segments(first);
        *from = before;
        return -EPIPE;
    }
    if (!first)
        return fault ? -EFAULT : -ENOBUFS;
    enqueue(pcb, first, oversize, !more);
    return (int64_t)total;
}

/* Sends; what a cork or MSG_MORE holds back only where a segment is full. */
static void push(struct socket *socket, bool more) {
    struct tcp_pcb *pcb = socket->tcp;
    if (!pcb)
        return;
    net_settle();
    if (!more) {
        tcp_output(pcb);
        return;
    }
    if (!pcb->unsent || (!pcb->unsent->next && pcb->unsent->len < segment_limit(pcb)))
        return;
    tcp_nagle_enable(pcb);
    tcp_output(pcb);
    if (socket->no_delay)
        tcp_nagle_disable(pcb);
}

void tcp_socket_push(struct socket *socket) {
    if (socket->state == SOCKET_CONNECTED)
        push(socket, false);
}

static bool sendable(void *context) {
    struct socket *socket = context;
    return socket->error || socket->shut_write || !socket->tcp || socket->state != SOCKET_CONNECTED ||
           (send_room(socket) && !socket->writing);
}

static bool connected_or_failed(void *context) {
    return ((struct socket *)context)->state != SOCKET_CONNECTING;
}

int64_t tcp_socket_send(struct socket *socket, struct message *message) {
    struct iter *from = message->data;
    int64_t total = 0, status = 0;
    bool more = socket->cork || message->flags & MSG_MORE;
    if (message->flags & MSG_OOB)
        return -EOPNOTSUPP;
    if (socket->state == SOCKET_CONNECTING) {
        status = socket_deadline_wait(socket, connected_or_failed, socket->send_timeout, message->flags);
        if (status != 0)
            return status;
    }
    while (from->left || total == 0) {
        if (socket->error)
            return total ? total : socket_take_error(socket);
        if (socket->shut_write || !socket->tcp || socket->state != SOCKET_CONNECTED)
            return total ? total : -EPIPE;
        if (!from->left)
            break;
        size_t room = send_room(socket);
        if (room && !socket->writing) {
            size_t size = from->left < room ? from->left : room;
            bool cut = size > ROUND_MAX;
            if (cut)
                size = ROUND_MAX;
            socket->writing = true;
            status = append(socket, from, size, more || cut);
            socket->writing = false;
            if (socket->contended) {
                socket->contended = false;
                socket_wake(socket, POLLOUT | POLLWRNORM);
            }
            if (status > 0) {
                total += status;
                push(socket, more || (from->left && send_room(socket)));
                continue;
            }
            if (status != -ENOBUFS)
                return total ? total : status;
            if (message->flags & MSG_DONTWAIT)
                break;
            /* No memory: acknowledgements bring some back. */
            if (socket->tcp)
                tcp_output(socket->tcp);
            status = thread_block(deadline_after(MEMORY_WAIT_NS), true);
            if (status == -ERESTARTSYS)
                return total ? total : status;
            continue;
        }
        if (socket->tcp->unsent)
            tcp_output(socket->tcp);
        if (send_room(socket) && !socket->writing)
            continue;
        *(socket->writing ? &socket->contended : &socket->starved) = true;
        if (message->flags & MSG_DONTWAIT)
            break;
        status = socket_deadline_wait(socket, sendable, socket->send_timeout, message->flags);
        if (status != 0)
            return total ? total : status;
    }
    if (!total && from->left) {
        socket->starved = true;
        return -EAGAIN;
    }
    return total;
}
