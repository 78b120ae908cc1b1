/* The page: three files put together into one, with a policy that allows exactly its own style and script. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api.h"

#if 0 /* The build reads these lines to learn that this file depends on those; the assembler takes them in below. */
#include "page.html"
#include "page.css"
#include "page.js"
#endif

#define EMBED(symbol, file)                                                                                            \
    __asm__(".section .rodata." #symbol ",\"a\",@progbits\n" #symbol ":\n.incbin \"" file "\"\n" #symbol "_end:\n"       \
            ".byte 0\n.previous\n");                                                                                   \
    extern const char symbol[] __attribute__((visibility("hidden")));                                                 \
    extern const char symbol##_end[] __attribute__((visibility("hidden")))

EMBED(sql_page_html, "page.html");
EMBED(sql_page_css, "page.css");
EMBED(sql_page_js, "page.js");

static char *page;
static size_t page_length;
static char policy[400], etag[48];

static void base64_digest(const char *data, size_t length, char out[45]) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    unsigned char digest[33] = {0};
    sha256(data, length, digest);
    for (size_t i = 0; i < 11; i++) {
        uint32_t three = (uint32_t)digest[3 * i] << 16 | (uint32_t)digest[3 * i + 1] << 8 | digest[3 * i + 2];
        for (size_t k = 0; k < 4; k++)
            out[4 * i + k] = digits[three >> (18 - 6 * k) & 63];
    }
    out[43] = '=';
    out[44] = '\0';
}

/* Copies `from` up to the marker and steps over it. NULL: there is no such marker. */
static const char *until(const char *from, const char *marker) {
    const char *at = strstr(from, marker);
    if (at != NULL) {
        memcpy(page + page_length, from, (size_t)(at - from));
        page_length += (size_t)(at - from);
        at += strlen(marker);
    }
    return at;
}

int page_init(char *why, size_t size) {
    size_t css = (size_t)(sql_page_css_end - sql_page_css), js = (size_t)(sql_page_js_end - sql_page_js);
    size_t html = (size_t)(sql_page_html_end - sql_page_html);
    page = malloc(html + css + js + 1);
    const char *at = page != NULL ? until(sql_page_html, "{{style}}") : NULL;
    if (at != NULL) {
        memcpy(page + page_length, sql_page_css, css);
        page_length += css;
        at = until(at, "{{script}}");
    }
    if (at == NULL) {
        snprintf(why, size, "the page could not be put together.");
        return -1;
    }
    memcpy(page + page_length, sql_page_js, js);
    page_length += js;
    size_t rest = (size_t)(sql_page_html_end - at);
    memcpy(page + page_length, at, rest);
    page_length += rest;
    char style[45], script[45], whole[45];
    base64_digest(sql_page_css, css, style);
    base64_digest(sql_page_js, js, script);
    base64_digest(page, page_length, whole);
    snprintf(policy, sizeof policy,
             "default-src 'none'; style-src 'sha256-%s'; script-src 'sha256-%s'; connect-src 'self'; img-src data:; "
             "frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
             style, script);
    snprintf(etag, sizeof etag, "\"%s\"", whole);
    return 0;
}

void page_free(void) {
    free(page);
    page = NULL;
}

void page_handle(struct web_request *request) {
    if (strcmp(web_path(request), "/") != 0) {
        web_error(request, 404, "not_found", "There is no such page; the database's page is '/'.");
        return;
    }
    const char *known = web_header(request, "If-None-Match");
    web_add_header(request, "ETag", etag);
    web_add_header(request, "Cache-Control", "no-cache");
    web_add_header(request, "Content-Security-Policy", policy);
    if (known != NULL && strstr(known, etag) != NULL)
        web_reply(request, 304, "text/html; charset=utf-8", "", 0, WEB_STATIC);
    else
        web_reply(request, 200, "text/html; charset=utf-8", page, page_length, WEB_STATIC);
}
