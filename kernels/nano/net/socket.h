/*
 * Sockets: what the files of this folder share. A socket belongs to its file; a connection that waits in a listener's
 * queue has no file yet.
 */
#ifndef NET_SOCKET_H
#define NET_SOCKET_H

#include "lwip/ip_addr.h"
#include "lwip/pbuf.h"
#include "lwip/tcp.h"
#include "lwip/udp.h"
#include "nano/errno.h"
#include "nano/file.h"
#include "nano/list.h"

#define AF_INET 2
#define AF_INET6 10
#define SOCK_STREAM 1
#define SOCK_DGRAM 2
#define SHUT_RD 0
#define SHUT_WR 1
#define SHUT_RDWR 2

#define MSG_PEEK 0x02u
#define MSG_CTRUNC 0x08u
#define MSG_TRUNC 0x20u
#define MSG_DONTWAIT 0x40u
#define MSG_WAITALL 0x100u
#define MSG_NOSIGNAL 0x4000u
#define MSG_MORE 0x8000u
#define MSG_CMSG_CLOEXEC 0x40000000u
#define MSG_OOB 0x01u

#define SOCKET_BUFFER_DEFAULT 212992 /* Linux's rmem_default and wmem_default */

/* An address with its port in host byte order. */
struct endpoint {
    ip_addr_t address;
    uint16_t port;
};

enum socket_state { SOCKET_IDLE, SOCKET_LISTENING, SOCKET_CONNECTING, SOCKET_CONNECTED, SOCKET_CLOSED };

/* A datagram that waits to be read. */
struct datagram {
    struct datagram *next;
    struct pbuf *data;
    struct endpoint from;
};

struct socket {
    struct file *file; /* NULL: not accepted yet */
    uint8_t domain, type;
    enum socket_state state;
    int error; /* SO_ERROR: positive, cleared when it was told */
    union {
        struct tcp_pcb *tcp; /* NULL: never there, or lwIP has given it up */
        struct udp_pcb *udp;
    };
    bool bound;
    struct endpoint local, peer; /* as they were, for when the pcb is gone */

    /* Received and not read. TCP: single pbufs, linked by `next`, `offset` bytes of the first are read already. */
    struct pbuf *received, *received_last;
    size_t received_bytes, offset;
    struct datagram *datagrams, *datagrams_last;
    bool fin; /* the peer sends no more */
    bool connect_untold; /* a connect() did not wait: the next one tells that it worked */
    bool shut_read, shut_write;
    bool writing; /* a thread is putting bytes into the send queue */
    bool contended; /* another thread waits for that */
    bool starved; /* a writer or poller found no room: tell when there is */

    /* A listener's queue of connections to accept. */
    struct list queue, queued;
    unsigned backlog, waiting;

    /* Options. */
    bool reuse_address, reuse_port, keep_alive, broadcast, no_delay, cork, linger, v6_only;
    unsigned linger_seconds;
    uint32_t receive_buffer, send_buffer;
    uint64_t receive_timeout, send_timeout; /* ns; 0: none */
    uint32_t keep_idle, keep_interval, keep_count; /* seconds; 0: the default */
};

extern const struct file_ops socket_file_ops;

/* For each kind of socket; `flags` are MSG_*. Negative error numbers. */
struct message {
    struct iter *data;
    struct endpoint *address; /* where to (NULL: to the peer); or room for where from (NULL: not asked) */
    unsigned flags;           /* out, of a receive: MSG_TRUNC */
    size_t whole;             /* out, of a receive: the datagram's length */
};

struct socket *socket_create(int domain, int type);
/* Tells those who wait. */
void socket_wake(struct socket *socket, unsigned events);
int64_t socket_deadline_wait(struct socket *socket, bool (*ready)(void *), uint64_t timeout, unsigned flags);
int socket_error(err_t error);
/* Takes the pending error: 0 or negative. */
int socket_take_error(struct socket *socket);
/* Linux's default address of a socket that is not bound: any. */
bool endpoint_is_local(const struct endpoint *endpoint); /* any, loopback, or one of the machine */
void endpoint_any(const struct socket *socket, ip_addr_t *address);
/* A random port that nobody has, tried on `bind`. 0: bound; -EADDRINUSE: none was free. */
int socket_bind_random(struct socket *socket, const ip_addr_t *address);

int tcp_socket_create(struct socket *socket);
int tcp_socket_bind(struct socket *socket, const struct endpoint *to);
int tcp_socket_listen(struct socket *socket, int backlog);
int64_t tcp_socket_accept(struct socket *socket, unsigned flags, struct socket **accepted);
int tcp_socket_connect(struct socket *socket, const struct endpoint *to, bool wait);
int64_t tcp_socket_send(struct socket *socket, struct message *message);
int64_t tcp_socket_receive(struct socket *socket, struct message *message);
int tcp_socket_disconnect(struct socket *socket); /* connect() to AF_UNSPEC: resets the connection; as new afterwards */
int tcp_socket_shutdown(struct socket *socket, int how);
unsigned tcp_socket_poll(struct socket *socket);
void tcp_socket_release(struct socket *socket);
void tcp_socket_apply_options(struct socket *socket);
void tcp_socket_push(struct socket *socket); /* sends what TCP_CORK held back */
size_t tcp_socket_unsent(const struct socket *socket);
/* The callbacks of an established connection. */
void tcp_socket_adopt(struct socket *socket, struct tcp_pcb *pcb);
void tcp_queue_receive(struct socket *socket, struct pbuf *data);

int udp_socket_create(struct socket *socket);
int udp_socket_bind(struct socket *socket, const struct endpoint *to);
int udp_socket_connect(struct socket *socket, const struct endpoint *to); /* NULL: disconnect */
int64_t udp_socket_send(struct socket *socket, struct message *message);
int64_t udp_socket_receive(struct socket *socket, struct message *message);
int udp_socket_shutdown(struct socket *socket, int how);
unsigned udp_socket_poll(struct socket *socket);
void udp_socket_release(struct socket *socket);

/* address.c: struct sockaddr of the program. `length` is the caller's. */
int endpoint_from_user(const struct socket *socket, uintptr_t address, uint64_t length, struct endpoint *endpoint);
/* ... of whom to send to: a datagram socket of IPv6 takes an address of IPv4 as it is, too. */
int endpoint_of_peer(const struct socket *socket, uintptr_t address, uint64_t length, struct endpoint *endpoint);
/* Writes at most *length bytes (the program's int at `length`) and the real length there. */
int endpoint_to_user(const struct socket *socket, const struct endpoint *endpoint, uintptr_t address, uintptr_t length);
size_t endpoint_encode(const struct socket *socket, const struct endpoint *endpoint, uint8_t out[28]);

/* options.c */
int64_t socket_set_option(struct socket *socket, int level, int name, uintptr_t value, uint64_t length);
int64_t socket_get_option(struct socket *socket, int level, int name, uintptr_t value, uintptr_t length);

#endif
