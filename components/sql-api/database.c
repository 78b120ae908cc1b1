/* One process owns the file, so the "unix-excl" VFS serves: the write-ahead log's index stays in ordinary memory, and
 * no shared mapping or file lock is asked of the kernel. The log gives every reader a snapshot, and a commit one
 * fdatasync: it is durable when it is answered (synchronous=FULL). */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "database.h"
#include "web/handler.h"

enum {
    READERS = 16,
    VALUE_BYTES = 8 << 20,
    PROGRESS_STEPS = 2000,
    LIKE_PATTERN_BYTES = 100,
    CHECKPOINT_PAGES = 1000
};

struct limits limits;
static struct connection writer, readers[READERS];
static const char *path;
static int64_t log_limit, page_bytes, log_bytes; /* log_bytes: as the last commit left the log */

/* ---- What clients may do ---- */

static const char *const pragmas[] = {
    "application_id", "collation_list", "compile_options", "encoding", "foreign_key_check", "foreign_key_list",
    "freelist_count", "function_list", "index_info", "index_list", "index_xinfo", "integrity_check", "page_count",
    "page_size", "quick_check", "table_info", "table_list", "table_xinfo", "user_version",
};
/* Those of them that may be given a new value; the others' argument is a name. */
static const char *const settable[] = {"application_id", "user_version"};
static const char *const with_name[] = {"foreign_key_check", "foreign_key_list", "index_info",  "index_list",
                                        "index_xinfo",       "integrity_check",  "quick_check", "table_info",
                                        "table_list",        "table_xinfo"};

static bool among(const char *const *names, size_t count, const char *name) {
    for (size_t i = 0; i < count; i++)
        if (sqlite3_stricmp(names[i], name) == 0)
            return true;
    return false;
}
#define AMONG(names, name) among(names, sizeof names / sizeof names[0], name)

static int refuse(struct connection *connection, const char *what, const char *name) {
    snprintf(connection->refused, sizeof connection->refused, "%s%s%s%s", what, name ? " '" : "", name ? name : "",
             name ? "' is not allowed." : "");
    return SQLITE_DENY;
}

static int authorize(void *context, int action, const char *first, const char *second, const char *schema,
                     const char *trigger) {
    (void)schema;
    (void)trigger;
    struct connection *connection = context;
    if (connection->trusted)
        return SQLITE_OK;
    switch (action) {
    case SQLITE_ATTACH:
        return refuse(connection, "ATTACH (and VACUUM, which uses it) is not allowed.", NULL);
    case SQLITE_DETACH:
        return refuse(connection, "DETACH is not allowed.", NULL);
    case SQLITE_TRANSACTION:
    case SQLITE_SAVEPOINT:
        return refuse(connection, "Transactions go through POST /api/transaction.", NULL);
    case SQLITE_CREATE_TEMP_INDEX:
    case SQLITE_CREATE_TEMP_TABLE:
    case SQLITE_CREATE_TEMP_TRIGGER:
    case SQLITE_CREATE_TEMP_VIEW:
    case SQLITE_DROP_TEMP_INDEX:
    case SQLITE_DROP_TEMP_TABLE:
    case SQLITE_DROP_TEMP_TRIGGER:
    case SQLITE_DROP_TEMP_VIEW:
        return refuse(connection, "Temporary tables, views, triggers and indexes are not allowed.", NULL);
    case SQLITE_PRAGMA:
        if (!AMONG(pragmas, first) || (second != NULL && !AMONG(settable, first) && !AMONG(with_name, first)))
            return refuse(connection, "The pragma", first);
        return SQLITE_OK;
    default:
        return SQLITE_OK;
    }
}

static int interrupt_late(void *context) {
    const struct connection *connection = context;
    return web_now() >= connection->deadline;
}

/* ---- Opening ---- */

/* A pragma of our own, before the rules are on. Its first value into `value`. */
static int pragma(sqlite3 *handle, const char *sql, char *value, size_t size) {
    sqlite3_stmt *statement = NULL;
    int result = sqlite3_prepare_v2(handle, sql, -1, &statement, NULL);
    if (result == SQLITE_OK) {
        result = sqlite3_step(statement);
        const unsigned char *text = result == SQLITE_ROW ? sqlite3_column_text(statement, 0) : NULL;
        if (value != NULL)
            snprintf(value, size, "%s", text != NULL ? (const char *)text : "");
        result = sqlite3_finalize(statement);
    }
    return result;
}

static int open_one(struct connection *connection, bool writes, char *why, size_t size) {
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE | (writes ? SQLITE_OPEN_CREATE : 0);
    char mode[16] = "";
    int result = sqlite3_open_v2(path, &connection->handle, flags, "unix-excl");
    sqlite3 *handle = connection->handle;
    if (result == SQLITE_OK)
        result = pragma(handle, "PRAGMA cache_size=-512", NULL, 0);
    if (result == SQLITE_OK && writes) {
        result = pragma(handle, "PRAGMA journal_mode=WAL", mode, sizeof mode);
        if (result == SQLITE_OK && strcmp(mode, "wal") != 0)
            result = SQLITE_CANTOPEN;
        if (result == SQLITE_OK)
            result = pragma(handle, "PRAGMA synchronous=FULL", NULL, 0);
        if (result == SQLITE_OK)
            result = pragma(handle, "PRAGMA journal_size_limit=4194304", NULL, 0);
    } else if (result == SQLITE_OK) {
        result = pragma(handle, "PRAGMA query_only=ON", NULL, 0);
    }
    if (result == SQLITE_OK)
        result = functions_replace(connection);
    if (result != SQLITE_OK) {
        const char *what = handle != NULL ? sqlite3_errmsg(handle) : sqlite3_errstr(result);
        int error = handle != NULL ? sqlite3_system_errno(handle) : 0;
        snprintf(why, size, "the database '%s' cannot be opened: %s%s%s.", path, what, error ? ": " : "",
                 error ? strerror(error) : "");
        sqlite3_close(handle);
        connection->handle = NULL;
        return -1;
    }
    sqlite3_db_config(handle, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(handle, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    sqlite3_limit(handle, SQLITE_LIMIT_LENGTH, VALUE_BYTES);
    sqlite3_limit(handle, SQLITE_LIMIT_ATTACHED, 0);
    sqlite3_limit(handle, SQLITE_LIMIT_COLUMN, 2000);
    sqlite3_limit(handle, SQLITE_LIMIT_COMPOUND_SELECT, 100);
    sqlite3_limit(handle, SQLITE_LIMIT_LIKE_PATTERN_LENGTH, LIKE_PATTERN_BYTES);
    sqlite3_progress_handler(handle, PROGRESS_STEPS, interrupt_late, connection);
    sqlite3_set_authorizer(handle, authorize, connection);
    return 0;
}

/* After each commit of the writer: what SQLite itself does, and the log's length is noted. A frame has a header of 24
 * bytes. */
static int note_log(void *context, sqlite3 *handle, const char *schema, int pages) {
    (void)context;
    log_bytes = pages * (page_bytes + 24);
    if (pages >= CHECKPOINT_PAGES)
        sqlite3_wal_checkpoint_v2(handle, schema, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    return SQLITE_OK;
}

/* 16 MiB, or a quarter of a smaller volume. */
static int64_t find_log_limit(void) {
    int64_t automatic = 16 << 20;
    struct statvfs volume;
    if (statvfs(path, &volume) == 0 && volume.f_blocks > 0) {
        uint64_t quarter = (uint64_t)volume.f_blocks * volume.f_frsize / 4;
        if (quarter < (uint64_t)automatic)
            automatic = quarter > 1 << 20 ? (int64_t)quarter : 1 << 20;
    }
    return web_setting("LOG_LIMIT", automatic, 1 << 20, INT64_C(1) << 50);
}

/* SQLite's memory: three eighths of the machine's, within bounds, so that a greedy statement fails alone. */
static int64_t memory_limit(void) {
    long pages = sysconf(_SC_PHYS_PAGES);
    int64_t automatic = pages > 0 ? (int64_t)pages * sysconf(_SC_PAGESIZE) / 8 * 3 : INT64_C(32) << 20;
    if (automatic > INT64_C(256) << 20)
        automatic = INT64_C(256) << 20;
    if (automatic < INT64_C(4) << 20)
        automatic = INT64_C(4) << 20;
    return web_setting("SQL_MEMORY", automatic, 1 << 20, INT64_C(1) << 40);
}

int database_open(char *why, size_t size) {
    path = web_text_setting("DATABASE", "/data/rumpel.db");
    limits.rows = web_setting("LIMIT", 10000, 1, INT64_C(1) << 40);
    limits.statement_timeout = web_setting("STATEMENT_TIMEOUT", 5000, 1, 86400000);
    limits.result_bytes = web_setting("RESULT_BYTES", 4 << 20, 1024, 1 << 30);
    limits.stream_timeout = web_setting("STREAM_TIMEOUT", 300, 1, 86400) * 1000;
    int64_t check_bytes = web_setting("CHECK_BYTES", 256 << 20, 0, INT64_C(1) << 50);
    if (sqlite3_initialize() != SQLITE_OK) {
        snprintf(why, size, "SQLite could not be initialised.");
        return -1;
    }
    sqlite3_hard_heap_limit64(memory_limit());
    if (open_one(&writer, true, why, size) != 0)
        return -1;
    char bytes[16] = "";
    if (pragma(writer.handle, "PRAGMA page_size", bytes, sizeof bytes) == SQLITE_OK)
        page_bytes = strtoll(bytes, NULL, 10);
    log_limit = find_log_limit();
    log_bytes = 0;
    sqlite3_wal_hook(writer.handle, note_log, NULL);
    struct stat st;
    if (stat(path, &st) != 0 || st.st_size > check_bytes)
        return 0;
    char answer[160] = "";
    writer.deadline = INT64_MAX;
    int result = pragma(writer.handle, "PRAGMA quick_check(1)", answer, sizeof answer);
    if (result == SQLITE_OK && strcmp(answer, "ok") == 0)
        return 0;
    snprintf(why, size, "the database '%s' is damaged: %s. Restore it from a copy.", path,
             result != SQLITE_OK ? sqlite3_errmsg(writer.handle) : answer);
    database_close();
    return -1;
}

void database_close(void) {
    for (size_t i = 0; i < READERS; i++)
        if (readers[i].handle != NULL)
            sqlite3_close(readers[i].handle);
    if (writer.handle != NULL)
        sqlite3_close(writer.handle); /* the last one: moves the log into the database */
    functions_free();
    memset(readers, 0, sizeof readers);
    writer.handle = NULL;
}

/* ---- Use ---- */

struct connection *database_writer(void) { return &writer; }

struct connection *database_reader(void) {
    for (size_t i = 0; i < READERS; i++) {
        struct connection *reader = &readers[i];
        char why[400];
        if (reader->busy)
            continue;
        if (reader->handle == NULL && open_one(reader, false, why, sizeof why) != 0) {
            web_log("%s", why);
            return NULL;
        }
        reader->busy = true;
        return reader;
    }
    return NULL;
}

void database_release(struct connection *reader) {
    reader->streaming = NULL;
    reader->overtaken = reader->busy = false;
}

void database_stream(struct connection *reader, sqlite3_stmt *statement) {
    static uint64_t turns;
    reader->streaming = statement;
    reader->turn = ++turns;
}

static struct connection *oldest_stream(void) {
    struct connection *oldest = NULL;
    for (size_t i = 0; i < READERS; i++)
        if (readers[i].streaming != NULL && !readers[i].overtaken &&
            (oldest == NULL || readers[i].turn < oldest->turn))
            oldest = &readers[i];
    return oldest;
}

/* Begins the log anew, at the cost of as many streams, the oldest first, as it takes. */
static void shorten_log(void) {
    writer.deadline = INT64_MAX;
    while (sqlite3_wal_checkpoint_v2(writer.handle, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL) == SQLITE_BUSY) {
        struct connection *oldest = oldest_stream();
        if (oldest == NULL)
            return;
        sqlite3_reset(oldest->streaming);
        oldest->overtaken = true;
    }
}

int database_prepare(struct connection *connection, const char *sql, size_t length, sqlite3_stmt **statement,
                     const char **tail) {
    connection->refused[0] = '\0';
    connection->deadline = web_now() + limits.statement_timeout;
    return sqlite3_prepare_v2(connection->handle, sql, (int)length, statement, tail);
}

int database_step(struct connection *connection, sqlite3_stmt *statement, int64_t *budget) {
    int64_t before = web_now();
    connection->deadline = before + *budget;
    int result = sqlite3_step(statement);
    *budget -= web_now() - before;
    return result;
}

/* Statements of our own run without the clients' rules. */
static int plain(const char *sql) {
    writer.deadline = INT64_MAX;
    writer.trusted = true;
    int result = sqlite3_exec(writer.handle, sql, NULL, NULL, NULL);
    writer.trusted = false;
    return result;
}

int database_begin(void) { return plain("BEGIN IMMEDIATE"); }

int database_commit(void) {
    int result = plain("COMMIT");
    if (result == SQLITE_OK && log_bytes > log_limit)
        shorten_log();
    return result;
}

void database_rollback(void) {
    if (!sqlite3_get_autocommit(writer.handle))
        plain("ROLLBACK");
}

bool database_blank(const char *sql, const char *end) {
    while (sql < end) {
        if (strchr(" \t\n\f\r;", *sql) != NULL && *sql != '\0') {
            sql++;
        } else if (end - sql >= 2 && sql[0] == '-' && sql[1] == '-') {
            while (sql < end && *sql != '\n')
                sql++;
        } else if (end - sql >= 2 && sql[0] == '/' && sql[1] == '*') {
            sql += 2;
            while (sql < end && !(end - sql >= 2 && sql[0] == '*' && sql[1] == '/'))
                sql++;
            sql = end - sql >= 2 ? sql + 2 : end;
        } else {
            return false;
        }
    }
    return true;
}
