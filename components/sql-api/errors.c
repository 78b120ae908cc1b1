#include <stdio.h>
#include <string.h>

#include "api.h"

struct meaning {
    int result;
    unsigned status;
    const char *code;
};

static const struct meaning meanings[] = {
    {SQLITE_CONSTRAINT, 409, "constraint"}, {SQLITE_AUTH, 403, "refused"},
    {SQLITE_INTERRUPT, 503, "timeout"},     {SQLITE_BUSY, 503, "busy"},
    {SQLITE_LOCKED, 503, "busy"},           {SQLITE_NOMEM, 503, "out_of_memory"},
    {SQLITE_FULL, 507, "disk_full"},        {SQLITE_TOOBIG, 413, "too_large"},
    {SQLITE_READONLY, 500, "storage"},      {SQLITE_IOERR, 500, "storage"},
    {SQLITE_CORRUPT, 500, "storage"},       {SQLITE_NOTADB, 500, "storage"},
    {SQLITE_CANTOPEN, 500, "storage"},      {SQLITE_INTERNAL, 500, "storage"},
};

/* Line and column (in characters, both from 1) of a byte in a text. */
static void count_lines(const char *text, size_t offset, int64_t *line, int64_t *column) {
    *line = *column = 1;
    for (size_t i = 0; i < offset && text[i] != '\0'; i++) {
        if (text[i] == '\n') {
            ++*line;
            *column = 1;
        } else if (((unsigned char)text[i] & 0xc0) != 0x80) {
            ++*column;
        }
    }
}

unsigned error_describe(struct text *text, struct connection *connection, int result, const struct place *place) {
    struct meaning meaning = {result, 400, "sql"};
    for (size_t i = 0; i < sizeof meanings / sizeof meanings[0]; i++)
        if (meanings[i].result == (result & 0xff))
            meaning = meanings[i];
    char message[400];
    if (meaning.status == 403 && connection->refused[0] != '\0')
        snprintf(message, sizeof message, "%s", connection->refused);
    else if (meaning.result == SQLITE_INTERRUPT)
        snprintf(message, sizeof message, "%s ran longer than %lld milliseconds.",
                 place != NULL && place->number >= 0 ? "The statements of the transaction together" : "The statement",
                 (long long)limits.statement_timeout);
    else
        snprintf(message, sizeof message, "%s", sqlite3_errmsg(connection->handle));
    text_string(text, "{\"code\":\"");
    text_string(text, meaning.code);
    text_string(text, "\",\"message\":");
    text_quoted_z(text, message);
    text_string(text, ",\"sqlite_code\":");
    text_integer(text, result);
    int offset = sqlite3_error_offset(connection->handle);
    if (place != NULL && place->sql != NULL && offset >= 0) {
        size_t at = (size_t)(place->statement - place->sql) + (size_t)offset;
        int64_t line, column;
        count_lines(place->sql, at, &line, &column);
        text_string(text, ",\"offset\":");
        text_integer(text, (int64_t)at);
        text_string(text, ",\"line\":");
        text_integer(text, line);
        text_string(text, ",\"column\":");
        text_integer(text, column);
    }
    if (place != NULL && place->number >= 0) {
        text_string(text, ",\"statement\":");
        text_integer(text, place->number);
    }
    text_string(text, "}");
    return meaning.status;
}

static void reply_text(struct web_request *request, unsigned status, struct text *text) {
    if (text->failed) {
        text_free(text);
        web_error(request, 503, "out_of_memory", "There is no memory for the answer.");
        return;
    }
    web_reply(request, status, "application/json", text->data, text->length, WEB_OWNED);
}

void error_reply(struct web_request *request, struct connection *connection, int result, const struct place *place) {
    struct text text = {.limit = 16384};
    text_string(&text, "{\"error\":");
    unsigned status = error_describe(&text, connection, result, place);
    text_string(&text, "}\n");
    reply_text(request, status, &text);
}

void error_body(struct web_request *request, const char *message, int64_t offset) {
    struct text text = {.limit = 16384};
    text_string(&text, "{\"error\":{\"code\":\"bad_request\",\"message\":");
    text_quoted_z(&text, message);
    if (offset >= 0) {
        text_string(&text, ",\"offset\":");
        text_integer(&text, offset);
    }
    text_string(&text, "}}\n");
    reply_text(request, 400, &text);
}
