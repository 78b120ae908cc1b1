/* JSON to SQL values and back, without loss (docs/sql-api.md, "Values"). */
#ifndef SQL_API_JSON_H
#define SQL_API_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>
#include <sqlite3.h>

/* A text that grows up to `limit` bytes. Once `failed` (no memory, or the limit) further writes do nothing. */
struct text {
    char *data;
    size_t length, capacity, limit;
    bool failed;
};

void text_add(struct text *text, const char *data, size_t length);
void text_string(struct text *text, const char *literal);
void text_integer(struct text *text, int64_t value);
/* A JSON string, with its quotation marks. Bytes that are not UTF-8 become U+FFFD. */
void text_quoted(struct text *text, const char *data, size_t length);
void text_quoted_z(struct text *text, const char *data);
void text_free(struct text *text);

/* Column `column` of the current row as a JSON value. */
void text_column(struct text *text, sqlite3_stmt *statement, int column);

/* Decodes a request's body: a JSON object, no duplicate names, valid UTF-8. NULL with a sentence and, where known, the
 * byte offset (else -1) of the mistake. The caller drops it with json_decref. */
json_t *json_body(const char *body, size_t length, char *why, size_t size, int64_t *offset);

/* Binds a JSON value to parameter `index`. 0, or -1 with a sentence in `why`. The value is copied. */
int json_bind(sqlite3_stmt *statement, int index, const json_t *value, char *why, size_t size);

/* Binds all of `parameters`: an array by position, an object by name (without the ':', '@' or '$'), NULL for none.
 * Every parameter must be given, and nothing else. */
int json_bind_all(sqlite3_stmt *statement, const json_t *parameters, char *why, size_t size);

#endif
