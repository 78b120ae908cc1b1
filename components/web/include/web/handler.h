/* How a library adds pages to the web server: it registers a handler at link time.
 *
 *     static void handle(struct web_request *request) {
 *         web_reply(request, 200, "text/plain; charset=utf-8", "hello\n", 6, WEB_STATIC);
 *     }
 *     WEB_HANDLER(hello, .prefix = "/hello", .methods = WEB_GET, .handle = handle);
 *
 * WEB_HANDLER puts the record into the linker section `web_handlers`; the server walks the section at start, so that
 * linking the object is all it takes. Everything runs in one thread: a handler must not block for long, and needs no
 * locks. Requests are routed by the longest prefix that ends at a segment's end ("/api" takes "/api" and "/api/x", not
 * "/apix"); paths that no handler takes are served from the folder WEB_ROOT (default /srv/www).
 *
 * Settings (environment): PORT (80; 0: any free one), LISTEN (address; default every one), WEB_ROOT, CONNECTIONS
 * (1024), BODY_LIMIT (bytes of one request's body, 1048576), BODY_MEMORY (bytes of all bodies being received,
 * 16777216), REQUEST_TIMEOUT (seconds that a client has to send the head, and again the body, of a request, 15),
 * STOP_TIMEOUT (seconds that requests under way have when the server is told to stop, 3).
 */
#ifndef WEB_HANDLER_H
#define WEB_HANDLER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum {
    WEB_GET = 1, /* implies HEAD: the server leaves the body out */
    WEB_POST = 2,
    WEB_PUT = 4,
    WEB_PATCH = 8,
    WEB_DELETE = 16,
};

enum web_errors { WEB_ERRORS_TEXT, WEB_ERRORS_JSON };

/* Who owns the bytes of a reply: they outlive the program (WEB_STATIC), the server copies them (WEB_COPY), or they came
 * from malloc and the server frees them, also when the reply fails (WEB_OWNED). */
enum web_bytes { WEB_STATIC, WEB_COPY, WEB_OWNED };

struct web_request;

/* One handler. `init` runs once before the server listens, returns 0, or -1 with a sentence in `why` (the server then
 * prints it and ends with status 1); may be NULL. `handle` is called when a request is complete, with its body, and
 * must call exactly one of the reply functions. `shutdown` runs once, after the last request; may be NULL. */
struct web_handler {
    const char *name;
    const char *prefix; /* "/" or "/api": without a slash at the end */
    unsigned methods;   /* WEB_GET | ...; others are answered with 405 */
    enum web_errors errors;
    int (*init)(char *why, size_t size);
    void (*handle)(struct web_request *request);
    void (*shutdown)(void);
};

#define WEB_HANDLER(identifier, ...)                                                                                   \
    static const struct web_handler web_handler_##identifier = {.name = #identifier, __VA_ARGS__};                     \
    static const struct web_handler *const web_handler_entry_##identifier                                              \
        __attribute__((used, section("web_handlers"))) = &web_handler_##identifier

/* ---- What the request says. Pointers stay valid until the request is over. ---- */

/* The method, one of WEB_GET...; a HEAD request is WEB_GET. */
unsigned web_method(const struct web_request *request);

/* The path as it was sent, still percent-encoded, without the query; always begins with '/'. */
const char *web_path(const struct web_request *request);

/* Decodes the path's segment `index` (from 0) after the handler's prefix into `out`, NUL-terminated. Returns its length,
 * -1 where there is no such segment, -2 where it is badly encoded, holds a NUL or does not fit into `size` bytes. */
ssize_t web_segment(const struct web_request *request, unsigned index, char *out, size_t size);

/* The query's argument `name`, decoded, NUL-terminated, its length in `*length` (may be NULL); from malloc: the caller
 * frees it. NULL where there is none, or no memory. */
char *web_query(const struct web_request *request, const char *name, size_t *length);

/* A header's value, or NULL. `name` in any case. */
const char *web_header(const struct web_request *request, const char *name);

/* The body (never NULL) and its length in bytes, at most BODY_LIMIT. */
const char *web_body(const struct web_request *request, size_t *length);

/* ---- Replies: exactly one a request. ---- */

/* Adds a header to the reply that follows. At most 8. The strings are copied. */
void web_add_header(struct web_request *request, const char *name, const char *value);

/* Replies with `length` bytes. */
void web_reply(struct web_request *request, unsigned status, const char *type, void *data, size_t length,
               enum web_bytes bytes);

#define WEB_STREAM_END (-1)
#define WEB_STREAM_FAILED (-2)

/* Replies piece by piece. `pull` fills at most `size` bytes and returns how many (at least 1), WEB_STREAM_END, or
 * WEB_STREAM_FAILED: the connection is cut, so that the client sees an incomplete answer. It is called only when the
 * client has taken what came before; a client that takes nothing for REQUEST_TIMEOUT seconds is cut off. `close` runs
 * exactly once, also when the client went away or the reply could not be begun. */
void web_reply_stream(struct web_request *request, unsigned status, const char *type,
                      ssize_t (*pull)(void *context, char *out, size_t size), void (*close)(void *context),
                      void *context);

/* Replies with an error in the handler's form: a line of text, or {"error": {"code": ..., "message": ...}}. */
void web_error(struct web_request *request, unsigned status, const char *code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* ---- For handlers' own use. ---- */

/* An integer setting from the environment. A value that is not a number between `least` and `most` ends the program
 * with status 1 and a sentence that names the setting; so call it from `init`. */
int64_t web_setting(const char *name, int64_t fallback, int64_t least, int64_t most);

/* A text setting from the environment; an empty one counts as not set. */
const char *web_text_setting(const char *name, const char *fallback);

/* A line on standard error, "web: ..." before it and a newline after it. */
void web_log(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Milliseconds of the monotonic clock. */
int64_t web_now(void);

/* Writes `text` as the inside of a JSON string (RFC 8259, section 7), NUL-terminated, cut at a character's end where it
 * does not fit. Bytes that are not UTF-8 become U+FFFD. Returns the length written. */
size_t web_json_escape(char *out, size_t size, const char *text, size_t length);

#endif
