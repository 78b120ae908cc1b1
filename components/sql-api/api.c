/* Routes of the API, and what holds for all of them. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "api.h"

/* Whether `name` is one of the setting HOSTS, names between commas. */
static bool configured(const char *name, size_t length) {
    const char *at = web_text_setting("HOSTS", "");
    while (*at != '\0') {
        at += strspn(at, ", ");
        size_t n = strcspn(at, ", ");
        if (n > 0 && n == length && strncasecmp(at, name, n) == 0)
            return true;
        at += n;
    }
    return false;
}

/* A foreign page's own name may be made to lead to this server's address (DNS rebinding); to the browser its requests
 * then come from the same origin, and only Host still says the name. Addresses cannot be bent so. */
static bool known_host(const char *host) {
    char name[256];
    unsigned char address[sizeof(struct in6_addr)];
    bool bracketed = host[0] == '[';
    size_t length = bracketed ? strcspn(++host, "]") : strcspn(host, ":");
    const char *port = host + length;
    if (bracketed && *port++ != ']')
        return false;
    if (length >= sizeof name || (*port != '\0' && (*port != ':' || port[1 + strspn(port + 1, "0123456789")] != '\0')))
        return false;
    memcpy(name, host, length);
    name[length] = '\0';
    if (bracketed)
        return inet_pton(AF_INET6, name, address) == 1;
    return inet_pton(AF_INET, name, address) == 1 || strcasecmp(name, "localhost") == 0 || configured(name, length);
}

static bool host_is_known(struct web_request *request) {
    const char *host = web_header(request, "Host");
    if (host == NULL || known_host(host)) /* without Host it is no browser */
        return true;
    web_error(request, 403, "host",
              "This server is not known by the name in 'Host'; the setting 'HOSTS' says which names it has.");
    return false;
}

bool api_same_origin(struct web_request *request) {
    /* A browser says from where a request comes; only pages of this server may use the API (no other site's page may
     * change the database behind its reader's back). Programs send no Origin. */
    const char *origin = web_header(request, "Origin"), *host = web_header(request, "Host");
    if (origin == NULL)
        return true;
    const char *authority = strstr(origin, "://");
    if (authority != NULL && host != NULL && strcasecmp(authority + 3, host) == 0)
        return true;
    web_error(request, 403, "origin", "Pages of other sites may not use this API.");
    return false;
}

json_t *api_body(struct web_request *request) {
    if (!api_same_origin(request))
        return NULL;
    const char *type = web_header(request, "Content-Type");
    size_t length = type != NULL ? strcspn(type, "; \t") : 0;
    /* Demanding this type also makes browsers ask first (CORS) for pages of other sites. */
    if (length != 16 || strncasecmp(type, "application/json", 16) != 0) {
        web_error(request, 415, "content_type", "The body must be sent with 'Content-Type: application/json'.");
        return NULL;
    }
    char why[300];
    int64_t offset;
    const char *body = web_body(request, &length);
    json_t *value = json_body(body, length, why, sizeof why, &offset);
    if (value == NULL)
        error_body(request, why, offset);
    return value;
}

static void describe(struct web_request *request) {
    struct text text = {.limit = 4096};
    text_string(&text, "{\"sqlite\":");
    text_quoted_z(&text, sqlite3_libversion());
    text_string(&text, ",\"limit\":");
    text_integer(&text, limits.rows);
    text_string(&text, ",\"statement_timeout\":");
    text_integer(&text, limits.statement_timeout);
    text_string(&text, ",\"result_bytes\":");
    text_integer(&text, limits.result_bytes);
    text_string(&text, "}\n");
    if (text.failed)
        web_error(request, 503, "out_of_memory", "There is no memory for the answer.");
    else
        web_reply(request, 200, "application/json", text.data, text.length, WEB_OWNED);
}

static bool method_is(struct web_request *request, unsigned allowed, const char *names) {
    if (web_method(request) & allowed)
        return true;
    web_add_header(request, "Allow", names);
    web_error(request, 405, "method_not_allowed", "The method is not allowed here; allowed: %s.", names);
    return false;
}

static void handle(struct web_request *request) {
    char first[32] = "", name[NAME_BYTES] = "", third[16] = "", fourth[2];
    ssize_t depth = web_segment(request, 0, first, sizeof first);
    ssize_t named = web_segment(request, 1, name, sizeof name);
    ssize_t under = web_segment(request, 2, third, sizeof third);
    bool deeper = web_segment(request, 3, fourth, sizeof fourth) != -1;
    web_add_header(request, "Cache-Control", "no-store");
    if (!host_is_known(request))
        return;
    if (depth == -1) {
        if (method_is(request, WEB_GET, "GET, HEAD"))
            describe(request);
    } else if (strcmp(first, "query") == 0 && named == -1) {
        if (method_is(request, WEB_POST, "POST"))
            query_handle(request);
    } else if (strcmp(first, "transaction") == 0 && named == -1) {
        if (method_is(request, WEB_POST, "POST"))
            transaction_handle(request);
    } else if (strcmp(first, "tables") == 0 && named == -1) {
        if (method_is(request, WEB_GET, "GET, HEAD"))
            tables_list(request);
    } else if (strcmp(first, "tables") == 0 && named >= 0 && under == -1) {
        if (method_is(request, WEB_GET, "GET, HEAD"))
            table_describe(request, name);
    } else if (strcmp(first, "tables") == 0 && named >= 0 && under >= 0 && strcmp(third, "rows") == 0 && !deeper) {
        if (method_is(request, WEB_GET | WEB_POST | WEB_PATCH | WEB_DELETE, "GET, HEAD, POST, PATCH, DELETE"))
            rows_handle(request, name);
    } else {
        web_error(request, 404, "not_found", "There is nothing here; see docs/sql-api.md for what there is.");
    }
}

WEB_HANDLER(sql_api, .prefix = "/api", .methods = WEB_GET | WEB_POST | WEB_PUT | WEB_PATCH | WEB_DELETE,
            .errors = WEB_ERRORS_JSON, .init = database_open, .handle = handle, .shutdown = database_close);
WEB_HANDLER(sql_page, .prefix = "/", .methods = WEB_GET, .errors = WEB_ERRORS_TEXT, .init = page_init,
            .handle = page_handle, .shutdown = page_free);
