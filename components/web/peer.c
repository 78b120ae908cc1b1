/* The clients' connections and their deadlines.
 *
 * libmicrohttpd can close a connection on which nothing happens. A client that sends one byte now and then never looks
 * idle to it, and one whose bytes wait while a handler is at work does; so the head of a request, and then its body,
 * each have a deadline here. Only a client that does not take its reply is libmicrohttpd's to watch. */
#include <stdlib.h>
#include <sys/socket.h>

#include "server.h"

static struct peer *peers;

struct peer *peer_of(struct MHD_Connection *connection) {
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info != NULL ? info->socket_context : NULL;
}

void peer_notify(void *context, struct MHD_Connection *connection, void **slot,
                 enum MHD_ConnectionNotificationCode code) {
    (void)context;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        int fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
        struct peer *peer = calloc(1, sizeof *peer);
        if (peer == NULL) {
            shutdown(fd, SHUT_RDWR); /* nobody would watch it */
            return;
        }
        peer->fd = fd;
        peer->deadline = web_now() + settings.request_timeout;
        peer->next = peers;
        if (peers != NULL)
            peers->previous = peer;
        peers = peer;
        *slot = peer;
    } else if (*slot != NULL) {
        struct peer *peer = *slot;
        if (peer->previous != NULL)
            peer->previous->next = peer->next;
        else
            peers = peer->next;
        if (peer->next != NULL)
            peer->next->previous = peer->previous;
        free(peer);
        *slot = NULL;
    }
}

void peer_sweep(int64_t now, int64_t late) {
    for (struct peer *peer = peers; peer != NULL; peer = peer->next) {
        if (peer->deadline == 0)
            continue;
        peer->deadline += late;
        if (now < peer->deadline)
            continue;
        /* Nothing of a reply is on its way while a request is being received, so a reply may be written past
         * libmicrohttpd. A kept connection that is merely idle is closed without a word. */
        if (peer->state == PEER_RECEIVING || (peer->state == PEER_IDLE && peer->requests == 0)) {
            char reply[1024];
            size_t n = text_raw_reply(reply, sizeof reply, 408, "Request Timeout", WEB_ERRORS_TEXT, "timeout",
                                      "The request was not complete in time.");
            (void)!send(peer->fd, reply, n, MSG_NOSIGNAL | MSG_DONTWAIT);
        }
        shutdown(peer->fd, SHUT_RDWR); /* libmicrohttpd sees the end and closes */
        peer->deadline = 0;
    }
}

unsigned peer_close_idle(void) {
    unsigned busy = 0;
    for (struct peer *peer = peers; peer != NULL; peer = peer->next) {
        if (peer->state == PEER_IDLE)
            shutdown(peer->fd, SHUT_RDWR);
        else
            busy++;
    }
    return busy;
}
