/* The database: one connection that writes, a few that read, each with the rules that clients are held to. */
#ifndef SQL_API_DATABASE_H
#define SQL_API_DATABASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sqlite3.h>

struct connection {
    sqlite3 *handle;
    int64_t deadline; /* web_now() at which a running statement is interrupted */
    bool busy;        /* a reader that holds a result */
    sqlite3_stmt *streaming; /* a reader's statement whose rows a client takes over time; else NULL */
    uint64_t turn;           /* of the stream: the smaller, the older */
    bool overtaken;          /* the stream was ended, its statement reset, because the log had grown too long */
    bool trusted;     /* runs a statement of our own: the authorizer lets it pass */
    char refused[160]; /* why the authorizer refused; empty where it did not */
};

struct limits {
    int64_t rows;              /* of one result */
    int64_t statement_timeout; /* milliseconds that the statements of a request may run */
    int64_t result_bytes;      /* of a result that is not streamed, as JSON */
    int64_t stream_timeout;    /* milliseconds that a client may take for a streamed result */
};
extern struct limits limits;

/* Opens or creates the database and checks it. 0, or -1 with a sentence. */
int database_open(char *why, size_t size);
void database_close(void);

struct connection *database_writer(void);
/* A reader with a snapshot of its own, or NULL where all are busy. Given back with database_release. */
struct connection *database_reader(void);
void database_release(struct connection *reader);
/* The reader's statement stays under way after the request was handled, until database_release. Its snapshot keeps the
 * write-ahead log from being used anew; when the log is longer than LOG_LIMIT a commit ends the oldest streams. */
void database_stream(struct connection *reader, sqlite3_stmt *statement);

/* Prepares the first statement of `sql`, with clients' rules on. `*tail` is what follows it. */
int database_prepare(struct connection *connection, const char *sql, size_t length, sqlite3_stmt **statement,
                     const char **tail);
/* sqlite3_step, for at most `*budget` milliseconds, which is lessened by what it took. */
int database_step(struct connection *connection, sqlite3_stmt *statement, int64_t *budget);

/* BEGIN IMMEDIATE, COMMIT, ROLLBACK on the writer. A failed commit leaves the transaction open: roll back. */
int database_begin(void);
int database_commit(void);
void database_rollback(void);

/* ---- functions.c ---- */

/* Gives a connection our form of the functions that would run past every deadline. SQLite's result code. */
int functions_replace(struct connection *connection);
void functions_free(void);

/* ---- database.c ---- */

/* Whether `sql` holds nothing but white space, semicolons and comments. */
bool database_blank(const char *sql, const char *end);

#endif
