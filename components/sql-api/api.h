/* What the parts of the API share. See docs/sql-api.md. */
#ifndef SQL_API_API_H
#define SQL_API_API_H

#include "database.h"
#include "json.h"
#include "web/handler.h"

/* ---- errors.c ---- */

/* Where in a request's SQL a statement stands, so that errors can point into it. */
struct place {
    const char *sql;       /* the whole text of the request */
    const char *statement; /* the statement's beginning inside it */
    int number;            /* of the statement in a transaction, from 0; -1: not in one */
};

/* Appends {"code": ..., "message": ...} for the last error of `connection`. Returns the HTTP status for it. */
unsigned error_describe(struct text *text, struct connection *connection, int result, const struct place *place);
/* Replies with the last error of `connection`. */
void error_reply(struct web_request *request, struct connection *connection, int result, const struct place *place);
/* Replies with 400 and where in the body the mistake is (bytes from its start; -1: not known). */
void error_body(struct web_request *request, const char *message, int64_t offset);

/* ---- api.c ---- */

/* The body of a request that changes or asks something: checks its origin and type, decodes it. NULL: it has replied. */
json_t *api_body(struct web_request *request);
/* Whether the page that sent the request is ours, or the sender no page. False: it has replied. */
bool api_same_origin(struct web_request *request);

/* ---- result.c ---- */

/* Replies with the rows of a prepared, bound statement, streamed where they are many; takes over `statement` and
 * `reader`. The first `keys` columns are the row's key and stand apart from its values; -1:
 * rows are plain arrays. At most `limit` rows. */
void result_reply(struct web_request *request, struct connection *reader, sqlite3_stmt *statement, int keys,
                  int64_t limit, const struct place *place);
void result_columns(struct text *text, sqlite3_stmt *statement, int first, int end);
void result_row(struct text *text, sqlite3_stmt *statement, int first, int end);

/* ---- query.c ---- */
void query_handle(struct web_request *request);
void transaction_handle(struct web_request *request);
/* Runs one statement of our making as a transaction of its own. Appends its first row, as an array, to `row`. Returns the number of rows, or -1: it has
 * replied with the error. */
int64_t query_write(struct web_request *request, const char *sql, const json_t *parameters, struct text *row);

/* ---- tables.c ---- */

enum { MOST_KEYS = 32, NAME_BYTES = 512 };

struct table {
    char name[NAME_BYTES];
    bool view;
    int keys;             /* 0: its rows cannot be told apart */
    char *key[MOST_KEYS]; /* names of the key's columns; from sqlite3_malloc */
};

/* Finds out about a table or view. 0; -1: it has replied (404, or the error). */
int table_load(struct web_request *request, struct connection *connection, const char *name, struct table *table);
void table_free(struct table *table);
void tables_list(struct web_request *request);
void table_describe(struct web_request *request, const char *name);

/* ---- rows.c ---- */
void rows_handle(struct web_request *request, const char *table);

/* ---- page.c ---- */
int page_init(char *why, size_t size);
void page_handle(struct web_request *request);
void page_free(void);

/* ---- sha256.c ---- */

/* SHA-256 (FIPS 180-4). */
void sha256(const void *data, size_t length, unsigned char digest[32]);

#endif
