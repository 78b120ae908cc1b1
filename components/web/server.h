/* What the parts of the server share. */
#ifndef WEB_SERVER_H
#define WEB_SERVER_H

#include <microhttpd.h>

#include "web/handler.h"

struct settings {
    int64_t body_limit;
    int64_t body_memory;
    int64_t request_timeout; /* milliseconds */
};

/* One client's connection. Lives from accept to close, in a list that the sweep walks. */
struct peer {
    struct peer *next, *previous;
    int fd;
    int64_t deadline; /* web_now() by which what is awaited must be there; 0: libmicrohttpd's own timeout watches */
    enum { PEER_IDLE, PEER_RECEIVING, PEER_REPLYING } state;
    unsigned requests; /* completed on this connection */
};

/* ---- request.c ---- */
extern struct settings settings;

enum MHD_Result request_access(void *context, struct MHD_Connection *connection, const char *url, const char *method,
                               const char *version, const char *upload, size_t *upload_size, void **state);
void request_completed(void *context, struct MHD_Connection *connection, void **state,
                       enum MHD_RequestTerminationCode how);

/* Queues `response` (and drops this reference to it) with the headers of web_add_header and those every reply has. */
void request_queue(struct web_request *request, unsigned status, struct MHD_Response *response);
/* Queues `response`, which others hold too, as it is: the reference stays the caller's. */
void request_queue_shared(struct web_request *request, unsigned status, struct MHD_Response *response);
/* The query as it was sent, with its '?', or an empty text; from malloc. NULL: no memory. */
char *request_query(const struct web_request *request);
struct MHD_Connection *request_connection(const struct web_request *request);

/* ---- route.c ---- */

/* Checks the registered handlers and runs their `init`. 0, or -1 with a sentence in `why`. */
int route_init(char *why, size_t size);
void route_shutdown(void);
/* The handler for a path; never NULL (files are the last resort). */
const struct web_handler *route_find(const char *path);

/* ---- files.c ---- */
extern const struct web_handler files_handler;

/* ---- peer.c ---- */
void peer_notify(void *context, struct MHD_Connection *connection, void **peer,
                 enum MHD_ConnectionNotificationCode code);
struct peer *peer_of(struct MHD_Connection *connection);
/* Cuts off the clients whose time is over; called about once a second. `late`: milliseconds by which this call comes too
 * late, because a handler was at work. For so long nobody's bytes were read, so every client gets that time back. */
void peer_sweep(int64_t now, int64_t late);
/* Closes connections without a request under way; returns how many others there are. */
unsigned peer_close_idle(void);

/* ---- text.c ---- */

/* Percent-decodes `length` bytes into `out` (at least as long + 1), NUL-terminated. Length, or -1 where it is badly
 * encoded. */
ssize_t text_percent_decode(const char *text, size_t length, char *out);
/* A short reply as bytes on the wire, for connections on which libmicrohttpd cannot reply any more. Length, < size. */
size_t text_raw_reply(char *out, size_t size, unsigned status, const char *reason, enum web_errors errors,
                      const char *code, const char *message);

#endif
