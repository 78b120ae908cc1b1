/* Rows as JSON, made only as fast as the client takes them. */
#include <stdlib.h>
#include <string.h>

#include "api.h"

enum { PIECE = 16384, ROW_BYTES = 48 << 20 };

struct result {
    struct connection *reader; /* NULL once given back */
    sqlite3_stmt *statement;
    struct text text; /* made, not yet taken */
    size_t sent;
    int keys;
    int64_t rows, limit, budget, end;
    bool keyed, done;
};

void result_columns(struct text *text, sqlite3_stmt *statement, int first, int end) {
    text_string(text, "[");
    for (int i = first; i < end; i++) {
        if (i > first)
            text_string(text, ",");
        const char *name = sqlite3_column_name(statement, i);
        text_quoted_z(text, name != NULL ? name : "");
    }
    text_string(text, "]");
}

void result_row(struct text *text, sqlite3_stmt *statement, int first, int end) {
    text_string(text, "[");
    for (int i = first; i < end; i++) {
        if (i > first)
            text_string(text, ",");
        text_column(text, statement, i);
    }
    text_string(text, "]");
}

/* Ends the snapshot as soon as nothing more is read from it. */
static void give_back(struct result *result) {
    if (result->reader == NULL)
        return;
    sqlite3_finalize(result->statement);
    database_release(result->reader);
    result->reader = NULL;
}

/* Makes about PIECE bytes. SQLITE_OK, or the error, after which the reader still holds it. */
static int fill(struct result *result, const struct place *place) {
    struct text *text = &result->text;
    int columns = sqlite3_column_count(result->statement);
    while (text->length < PIECE) {
        int code = database_step(result->reader, result->statement, &result->budget);
        if (code == SQLITE_ROW && result->rows < result->limit) {
            text_string(text, result->rows++ > 0 ? ",\n" : "\n");
            if (result->keyed) {
                text_string(text, "{\"key\":");
                result_row(text, result->statement, 0, result->keys);
                text_string(text, ",\"values\":");
            }
            result_row(text, result->statement, result->keys, columns);
            if (result->keyed)
                text_string(text, "}");
            if (text->failed)
                return SQLITE_TOOBIG;
            continue;
        }
        if (code != SQLITE_ROW && code != SQLITE_DONE) {
            text_string(text, "\n],\"truncated\":false,\"error\":");
            error_describe(text, result->reader, code, place);
            text_string(text, "}\n");
            result->done = true;
            return code;
        }
        text_string(text, code == SQLITE_ROW ? "\n],\"truncated\":true}\n" : "\n],\"truncated\":false}\n");
        result->done = true;
        break;
    }
    return text->failed ? SQLITE_NOMEM : SQLITE_OK;
}

static void end_overtaken(struct result *result) {
    text_string(&result->text, "\n],\"truncated\":false,\"error\":{\"code\":\"overtaken\",\"message\":"
                               "\"The rows were taken too slowly while much was written; read them anew.\"}}\n");
    result->done = true;
}

static ssize_t pull(void *context, char *out, size_t size) {
    struct result *result = context;
    if (result->sent == result->text.length) {
        if (result->done)
            return WEB_STREAM_END;
        result->text.length = result->sent = 0;
        if (web_now() > result->end)
            return WEB_STREAM_FAILED;
        if (result->reader->overtaken)
            end_overtaken(result);
        else
            fill(result, NULL);
        if (result->text.failed)
            return WEB_STREAM_FAILED;
        if (result->done)
            give_back(result);
    }
    size_t left = result->text.length - result->sent;
    size_t n = left < size ? left : size;
    memcpy(out, result->text.data + result->sent, n);
    result->sent += n;
    return (ssize_t)n;
}

static void close_result(void *context) {
    struct result *result = context;
    give_back(result);
    text_free(&result->text);
    free(result);
}

void result_reply(struct web_request *request, struct connection *reader, sqlite3_stmt *statement, int keys,
                  int64_t limit, const struct place *place) {
    struct result *result = calloc(1, sizeof *result);
    if (result == NULL) {
        sqlite3_finalize(statement);
        database_release(reader);
        web_error(request, 503, "out_of_memory", "There is no memory for the answer.");
        return;
    }
    *result = (struct result){.reader = reader, .statement = statement, .text = {.limit = ROW_BYTES},
                              .keys = keys > 0 ? keys : 0, .keyed = keys >= 0,
                              .limit = limit, .budget = limits.statement_timeout,
                              .end = web_now() + limits.stream_timeout};
    struct text *text = &result->text;
    text_string(text, "{");
    if (result->keyed) {
        text_string(text, "\"key\":");
        result_columns(text, statement, 0, keys);
        text_string(text, ",");
    }
    text_string(text, "\"columns\":");
    result_columns(text, statement, result->keys, sqlite3_column_count(statement));
    text_string(text, ",\"rows\":[");
    int code = fill(result, place);
    if (text->failed) {
        web_error(request, 413, "too_large", "A row of the result is larger than %d bytes.", ROW_BYTES);
    } else if (code != SQLITE_OK) {
        error_reply(request, reader, code, place); /* nothing was sent yet, so it gets a status of its own */
    } else if (result->done) {
        web_reply(request, 200, "application/json", text->data, text->length, WEB_OWNED);
        result->text = (struct text){0};
    } else {
        database_stream(reader, statement);
        web_reply_stream(request, 200, "application/json", pull, close_result, result);
        return;
    }
    close_result(result);
}
