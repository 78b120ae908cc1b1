#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <errno.h>
#include <inttypes.h>

#include "server.h"

static int hex_digit(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

ssize_t text_percent_decode(const char *text, size_t length, char *out) {
    size_t used = 0;
    for (size_t i = 0; i < length; i++) {
        if (text[i] != '%') {
            out[used++] = text[i];
            continue;
        }
        if (length - i < 3)
            return -1;
        int high = hex_digit(text[i + 1]), low = hex_digit(text[i + 2]);
        if (high < 0 || low < 0)
            return -1;
        out[used++] = (char)(high << 4 | low);
        i += 2;
    }
    out[used] = '\0';
    return (ssize_t)used;
}

/* The length of the UTF-8 character at `text` (RFC 3629, section 4), 0 where it is not one. */
static size_t utf8_length(const unsigned char *text, size_t length) {
    unsigned char first = text[0];
    if (first < 0x80)
        return 1;
    size_t need = first >= 0xc2 && first <= 0xdf ? 2 : (first & 0xf0) == 0xe0 ? 3 : first >= 0xf0 && first <= 0xf4 ? 4 : 0;
    if (need == 0 || need > length)
        return 0;
    for (size_t i = 1; i < need; i++)
        if ((text[i] & 0xc0) != 0x80)
            return 0;
    if ((first == 0xe0 && text[1] < 0xa0) || (first == 0xed && text[1] > 0x9f) || (first == 0xf0 && text[1] < 0x90) ||
        (first == 0xf4 && text[1] > 0x8f))
        return 0;
    return need;
}

size_t web_json_escape(char *out, size_t size, const char *text, size_t length) {
    size_t used = 0;
    if (size == 0)
        return 0;
    for (size_t i = 0; i < length;) {
        unsigned char c = (unsigned char)text[i];
        char piece[8];
        size_t n, taken = 1;
        if (c == '"' || c == '\\') {
            piece[0] = '\\', piece[1] = (char)c, n = 2;
        } else if (c == '\n') {
            memcpy(piece, "\\n", n = 2);
        } else if (c < 0x20 || c == 0x7f) {
            n = (size_t)snprintf(piece, sizeof piece, "\\u%04x", c);
        } else {
            taken = utf8_length((const unsigned char *)text + i, length - i);
            if (taken == 0) {
                memcpy(piece, "\xef\xbf\xbd", n = 3);
                taken = 1;
            } else {
                memcpy(piece, text + i, n = taken);
            }
        }
        if (n >= size - used)
            break;
        memcpy(out + used, piece, n);
        used += n;
        i += taken;
    }
    out[used] = '\0';
    return used;
}

size_t text_raw_reply(char *out, size_t size, unsigned status, const char *reason, enum web_errors errors,
                      const char *code, const char *message) {
    char body[512], text[256];
    web_json_escape(text, sizeof text, message, strlen(message));
    int n = errors == WEB_ERRORS_JSON
                ? snprintf(body, sizeof body, "{\"error\":{\"code\":\"%s\",\"message\":\"%s\"}}\n", code, text)
                : snprintf(body, sizeof body, "%s\n", message);
    if (n < 0 || (size_t)n >= sizeof body)
        n = 0, body[0] = '\0';
    int total = snprintf(out, size,
                         "HTTP/1.1 %u %s\r\nConnection: close\r\nContent-Type: %s; charset=utf-8\r\n"
                         "X-Content-Type-Options: nosniff\r\nContent-Length: %d\r\n\r\n%s",
                         status, reason, errors == WEB_ERRORS_JSON ? "application/json" : "text/plain", n, body);
    return total < 0 || (size_t)total >= size ? 0 : (size_t)total;
}

void web_log(const char *format, ...) {
    char line[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    fprintf(stderr, "web: %s\n", line);
}

int64_t web_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

const char *web_text_setting(const char *name, const char *fallback) {
    const char *value = getenv(name);
    return value != NULL && value[0] != '\0' ? value : fallback;
}

int64_t web_setting(const char *name, int64_t fallback, int64_t least, int64_t most) {
    const char *value = web_text_setting(name, NULL);
    if (value == NULL)
        return fallback;
    char *end;
    errno = 0;
    long long number = strtoll(value, &end, 10);
    if (errno != 0 || *end != '\0' || isspace((unsigned char)value[0]) || number < least || number > most) {
        web_log("the setting '%s' is '%s', which is not a whole number from %" PRId64 " to %" PRId64 ".", name, value,
                least, most);
        exit(1);
    }
    return number;
}
