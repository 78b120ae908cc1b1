/* From libmicrohttpd's callbacks to a handler and back. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "server.h"

enum { MOST_HEADERS = 8, PIECE = 16384 };

struct web_request {
    struct MHD_Connection *connection;
    struct peer *peer;
    const struct web_handler *handler;
    const char *path;
    unsigned method;
    bool replied;
    bool failed;    /* nothing could be queued: the connection is cut */
    bool swallowing; /* refused on the wire already; what still comes is read and dropped */
    char *body;
    size_t length, capacity;
    size_t headers;
    char *header_names[MOST_HEADERS], *header_values[MOST_HEADERS];
};

struct settings settings;
static int64_t body_bytes; /* of all requests together */

static const struct {
    const char *name;
    unsigned method;
} methods[] = {{"GET", WEB_GET},     {"HEAD", WEB_GET},   {"POST", WEB_POST},
               {"PUT", WEB_PUT},     {"PATCH", WEB_PATCH}, {"DELETE", WEB_DELETE}};

/* ---- Questions ---- */

unsigned web_method(const struct web_request *request) { return request->method; }

const char *web_path(const struct web_request *request) { return request->path; }

struct MHD_Connection *request_connection(const struct web_request *request) { return request->connection; }

ssize_t web_segment(const struct web_request *request, unsigned index, char *out, size_t size) {
    size_t prefix = strlen(request->handler->prefix);
    const char *at = request->path + (prefix == 1 ? 0 : prefix);
    for (;; index--) {
        if (*at != '/')
            return -1;
        at++;
        size_t length = strcspn(at, "/");
        if (index == 0) {
            if (length == 0)
                return -1;
            if (length >= size)
                return -2;
            ssize_t n = text_percent_decode(at, length, out);
            return n < 0 || memchr(out, '\0', (size_t)n) != NULL ? -2 : n;
        }
        at += length;
    }
}

char *web_query(const struct web_request *request, const char *name, size_t *length) {
    const char *raw = NULL;
    size_t n = 0;
    if (MHD_lookup_connection_value_n(request->connection, MHD_GET_ARGUMENT_KIND, name, strlen(name), &raw, &n) !=
            MHD_YES ||
        raw == NULL)
        return NULL;
    char *out = malloc(n + 1);
    ssize_t decoded = out != NULL ? text_percent_decode(raw, n, out) : -1;
    if (decoded < 0) {
        free(out);
        return NULL;
    }
    if (length != NULL)
        *length = (size_t)decoded;
    return out;
}

struct query {
    char *out; /* NULL: only counts */
    size_t length;
};

static void put(struct query *query, const char *text) {
    for (; *text != '\0'; text++, query->length++)
        if (query->out != NULL)
            query->out[query->length] = *text == ' ' ? '+' : *text; /* libmicrohttpd made it a space */
}

static enum MHD_Result put_argument(void *context, enum MHD_ValueKind kind, const char *key, const char *value) {
    struct query *query = context;
    (void)kind;
    put(query, query->length == 0 ? "?" : "&");
    put(query, key);
    if (value != NULL) {
        put(query, "=");
        put(query, value);
    }
    return MHD_YES;
}

char *request_query(const struct web_request *request) {
    struct query query = {0};
    MHD_get_connection_values(request->connection, MHD_GET_ARGUMENT_KIND, put_argument, &query);
    query.out = malloc(query.length + 1);
    if (query.out == NULL)
        return NULL;
    query.length = 0;
    MHD_get_connection_values(request->connection, MHD_GET_ARGUMENT_KIND, put_argument, &query);
    query.out[query.length] = '\0';
    return query.out;
}

const char *web_header(const struct web_request *request, const char *name) {
    return MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, name);
}

const char *web_body(const struct web_request *request, size_t *length) {
    *length = request->length;
    return request->body != NULL ? request->body : "";
}

/* ---- Replies ---- */

void web_add_header(struct web_request *request, const char *name, const char *value) {
    if (request->headers == MOST_HEADERS)
        return;
    char *copy_name = strdup(name), *copy_value = strdup(value);
    if (copy_name == NULL || copy_value == NULL) {
        free(copy_name);
        free(copy_value);
        request->failed = true;
        return;
    }
    request->header_names[request->headers] = copy_name;
    request->header_values[request->headers++] = copy_value;
}

void request_queue_shared(struct web_request *request, unsigned status, struct MHD_Response *response) {
    if (!request->replied && !request->failed &&
        MHD_queue_response(request->connection, status, response) == MHD_YES) {
        request->replied = true;
        if (request->peer != NULL) {
            request->peer->state = PEER_REPLYING;
            request->peer->deadline = 0;
            MHD_set_connection_option(request->connection, MHD_CONNECTION_OPTION_TIMEOUT,
                                      (unsigned)(settings.request_timeout / 1000));
        }
    } else {
        request->failed = true;
    }
}

void request_queue(struct web_request *request, unsigned status, struct MHD_Response *response) {
    if (response == NULL) {
        request->failed = true;
        return;
    }
    for (size_t i = 0; i < request->headers; i++)
        MHD_add_response_header(response, request->header_names[i], request->header_values[i]);
    request_queue_shared(request, status, response);
    MHD_destroy_response(response);
}

static void add_common_headers(struct web_request *request, struct MHD_Response *response, const char *type) {
    MHD_add_response_header(response, "Content-Type", type);
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    if (strncmp(type, "text/html", 9) == 0) {
        bool own_policy = false;
        for (size_t i = 0; i < request->headers; i++)
            own_policy |= strcasecmp(request->header_names[i], "Content-Security-Policy") == 0;
        if (!own_policy)
            MHD_add_response_header(response, "Content-Security-Policy",
                                    "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'");
        MHD_add_response_header(response, "Referrer-Policy", "no-referrer");
        MHD_add_response_header(response, "Cross-Origin-Opener-Policy", "same-origin");
    }
}

void web_reply(struct web_request *request, unsigned status, const char *type, void *data, size_t length,
               enum web_bytes bytes) {
    struct MHD_Response *response = MHD_create_response_from_buffer(
        length, data,
        bytes == WEB_STATIC ? MHD_RESPMEM_PERSISTENT : bytes == WEB_COPY ? MHD_RESPMEM_MUST_COPY : MHD_RESPMEM_MUST_FREE);
    if (response == NULL) {
        if (bytes == WEB_OWNED)
            free(data);
        request->failed = true;
        return;
    }
    add_common_headers(request, response, type);
    request_queue(request, status, response);
}

/* A reply in pieces, between libmicrohttpd's reader callback and the handler's. */
struct stream {
    ssize_t (*pull)(void *, char *, size_t);
    void (*close)(void *);
    void *context;
};

static ssize_t stream_read(void *context, uint64_t position, char *out, size_t size) {
    (void)position;
    struct stream *stream = context;
    ssize_t n = stream->pull(stream->context, out, size);
    if (n > 0)
        return n;
    return n == WEB_STREAM_END ? MHD_CONTENT_READER_END_OF_STREAM : MHD_CONTENT_READER_END_WITH_ERROR;
}

static void stream_free(void *context) {
    struct stream *stream = context;
    stream->close(stream->context);
    free(stream);
}

void web_reply_stream(struct web_request *request, unsigned status, const char *type,
                      ssize_t (*pull)(void *, char *, size_t), void (*close)(void *), void *context) {
    struct stream *stream = malloc(sizeof *stream);
    struct MHD_Response *response = NULL;
    if (stream != NULL) {
        *stream = (struct stream){pull, close, context};
        response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, PIECE, stream_read, stream, stream_free);
    }
    if (response == NULL) {
        close(context);
        free(stream);
        request->failed = true;
        return;
    }
    add_common_headers(request, response, type);
    request_queue(request, status, response);
}

void web_error(struct web_request *request, unsigned status, const char *code, const char *format, ...) {
    char message[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    char body[2048];
    int n;
    if (request->handler->errors == WEB_ERRORS_JSON) {
        char text[1800];
        web_json_escape(text, sizeof text, message, strlen(message));
        n = snprintf(body, sizeof body, "{\"error\":{\"code\":\"%s\",\"message\":\"%s\"}}\n", code, text);
    } else {
        n = snprintf(body, sizeof body, "%u %s\n", status, message);
    }
    web_reply(request, status,
              request->handler->errors == WEB_ERRORS_JSON ? "application/json" : "text/plain; charset=utf-8", body,
              n < 0 ? 0 : (size_t)n, WEB_COPY);
}

/* ---- Receiving ---- */

static void allow_header(unsigned allowed, char *out, size_t size) {
    size_t used = 0;
    out[0] = '\0';
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++)
        if (allowed & methods[i].method)
            used += (size_t)snprintf(out + used, size - used, "%s%s", used ? ", " : "", methods[i].name);
}

/* Refuses a request whose body is still on its way. The refusal is written past libmicrohttpd, which cannot reply in
 * this state, and our side of the connection ended; what the client still sends is dropped until its end or the
 * deadline, because closing with unread bytes would reset the connection before the client has read the refusal. */
static void refuse_body(struct web_request *request, unsigned status, const char *reason, const char *code,
                        const char *message) {
    char reply[1024];
    size_t n = text_raw_reply(reply, sizeof reply, status, reason, request->handler->errors, code, message);
    int fd = MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
    (void)!send(fd, reply, n, MSG_NOSIGNAL | MSG_DONTWAIT);
    shutdown(fd, SHUT_WR);
    request->swallowing = true;
    body_bytes -= (int64_t)request->capacity;
    free(request->body);
    request->body = NULL;
    request->length = request->capacity = 0;
}

static void refuse_oversized(struct web_request *request) {
    char message[128];
    snprintf(message, sizeof message, "The request's body is larger than %" PRId64 " bytes.", settings.body_limit);
    refuse_body(request, 413, "Content Too Large", "too_large", message);
}

static void receive(struct web_request *request, const char *upload, size_t size) {
    if (request->swallowing)
        return;
    if (size > (size_t)settings.body_limit - request->length) {
        refuse_oversized(request);
        return;
    }
    if (request->capacity - request->length < size) {
        size_t capacity = request->capacity != 0 ? request->capacity * 2 : 1024;
        while (capacity - request->length < size)
            capacity *= 2;
        if (capacity > (size_t)settings.body_limit)
            capacity = (size_t)settings.body_limit;
        char *grown = body_bytes + (int64_t)(capacity - request->capacity) <= settings.body_memory
                          ? realloc(request->body, capacity)
                          : NULL;
        if (grown == NULL) {
            refuse_body(request, 503, "Service Unavailable", "overloaded",
                        "The server has no memory for this request now.");
            return;
        }
        body_bytes += (int64_t)(capacity - request->capacity);
        request->body = grown;
        request->capacity = capacity;
    }
    memcpy(request->body + request->length, upload, size);
    request->length += size;
}

static enum MHD_Result begin(struct MHD_Connection *connection, const char *url, const char *method, void **state) {
    struct web_request *request = calloc(1, sizeof *request);
    if (request == NULL)
        return MHD_NO;
    *state = request;
    request->connection = connection;
    request->path = url;
    request->handler = route_find(url);
    request->peer = peer_of(connection);
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++)
        if (strcmp(method, methods[i].name) == 0)
            request->method = methods[i].method;
    if (request->peer != NULL) {
        request->peer->state = PEER_RECEIVING;
        request->peer->deadline = web_now() + settings.request_timeout;
    }
    const char *declared = web_header(request, "Content-Length");
    if (declared == NULL)
        return MHD_YES;
    char *end;
    errno = 0;
    unsigned long long length = strtoull(declared, &end, 10);
    if (errno == 0 && length <= (unsigned long long)settings.body_limit)
        return MHD_YES;
    const char *expect = web_header(request, "Expect");
    if (expect != NULL && strcasecmp(expect, "100-continue") == 0) {
        /* The client waits for our word before it sends the body. */
        web_error(request, 413, "too_large", "The request's body is larger than %" PRId64 " bytes.",
                  settings.body_limit);
        return request->failed ? MHD_NO : MHD_YES;
    }
    refuse_oversized(request);
    return MHD_YES;
}

enum MHD_Result request_access(void *context, struct MHD_Connection *connection, const char *url, const char *method,
                               const char *version, const char *upload, size_t *upload_size, void **state) {
    (void)context;
    (void)version;
    struct web_request *request = *state;
    if (request == NULL)
        return begin(connection, url, method, state);
    if (*upload_size > 0) {
        receive(request, upload, *upload_size);
        *upload_size = 0;
        return MHD_YES;
    }
    if (request->swallowing)
        return MHD_NO;
    if ((request->handler->methods & request->method) == 0) {
        char allowed[64];
        allow_header(request->handler->methods, allowed, sizeof allowed);
        web_add_header(request, "Allow", allowed);
        web_error(request, 405, "method_not_allowed", "The method is not allowed here; allowed: %s.", allowed);
    } else if (url[0] != '/') {
        web_error(request, 400, "bad_request", "The request's target must be a path.");
    } else {
        request->handler->handle(request);
    }
    return request->failed || !request->replied ? MHD_NO : MHD_YES;
}

void request_completed(void *context, struct MHD_Connection *connection, void **state,
                       enum MHD_RequestTerminationCode how) {
    (void)context;
    (void)how;
    struct web_request *request = *state;
    if (request == NULL)
        return;
    if (request->peer != NULL) {
        MHD_set_connection_option(connection, MHD_CONNECTION_OPTION_TIMEOUT, 0U);
        request->peer->state = PEER_IDLE;
        request->peer->requests++;
        request->peer->deadline = web_now() + settings.request_timeout;
    }
    for (size_t i = 0; i < request->headers; i++) {
        free(request->header_names[i]);
        free(request->header_values[i]);
    }
    body_bytes -= (int64_t)request->capacity;
    free(request->body);
    free(request);
    *state = NULL;
}
