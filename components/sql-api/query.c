/* POST /api/query and POST /api/transaction. */
#include <stdio.h>
#include <string.h>

#include "api.h"

/* The members of a statement's object: {"sql": text, "parameters": ...}. 0, or -1: it has replied. */
static int read_statement(struct web_request *request, const json_t *object, const char **sql, size_t *length,
                          const json_t **parameters) {
    const json_t *text = json_object_get(object, "sql");
    *parameters = json_object_get(object, "parameters");
    size_t known = (text != NULL) + (*parameters != NULL);
    if (!json_is_string(text))
        error_body(request, "'sql' must be there and be a text.", -1);
    else if (json_object_size(object) != known)
        error_body(request, "Only 'sql' and 'parameters' are known here.", -1);
    else if (strlen(json_string_value(text)) != json_string_length(text))
        error_body(request, "'sql' holds a NUL character.", -1);
    else {
        *sql = json_string_value(text);
        *length = json_string_length(text);
        return 0;
    }
    return -1;
}

/* Runs one prepared, bound statement to its end; appends its result object's members. SQLite's result code. `budget`
 * is what the request's statements may still run together, in milliseconds: they keep all other clients waiting. */
static int collect(struct connection *writer, sqlite3_stmt *statement, int64_t *budget, struct text *out,
                   struct text *first_row, int64_t *rows) {
    int64_t before = sqlite3_total_changes64(writer->handle);
    int columns = sqlite3_column_count(statement), code;
    bool truncated = false;
    *rows = 0;
    sqlite3_set_last_insert_rowid(writer->handle, 0);
    if (out != NULL) {
        text_string(out, "{\"columns\":");
        result_columns(out, statement, 0, columns);
        text_string(out, ",\"rows\":[");
    }
    while ((code = database_step(writer, statement, budget)) == SQLITE_ROW) {
        if (*rows == limits.rows) {
            truncated = true;
            /* What only reads may stop here; what writes must come to its end. */
            if (sqlite3_stmt_readonly(statement)) {
                code = SQLITE_DONE;
                break;
            }
            continue;
        }
        if (*rows == 0 && first_row != NULL)
            result_row(first_row, statement, 0, columns);
        if (out != NULL) {
            text_string(out, *rows > 0 ? ",\n" : "\n");
            result_row(out, statement, 0, columns);
            if (out->failed)
                return SQLITE_TOOBIG;
        }
        ++*rows;
    }
    if (code != SQLITE_DONE)
        return code;
    if (out != NULL) {
        bool changed = sqlite3_total_changes64(writer->handle) != before;
        text_string(out, truncated ? "],\"truncated\":true,\"rows_affected\":" : "],\"truncated\":false,\"rows_affected\":");
        text_integer(out, changed ? sqlite3_changes64(writer->handle) : 0);
        if (sqlite3_last_insert_rowid(writer->handle) != 0) {
            text_string(out, ",\"last_insert_rowid\":");
            text_integer(out, sqlite3_last_insert_rowid(writer->handle));
        }
        text_string(out, "}");
        if (out->failed)
            return SQLITE_TOOBIG;
    }
    return SQLITE_OK;
}

static void reply_too_large(struct web_request *request) {
    web_error(request, 413, "too_large", "The result is larger than %lld bytes; nothing was changed.",
              (long long)limits.result_bytes);
}

/* Runs the statements of one text inside the open transaction. 0, or -1: it has replied. */
static int run(struct web_request *request, const char *sql, size_t length, const json_t *parameters, int number,
               int64_t *budget, struct text *out, size_t *results) {
    struct connection *writer = database_writer();
    const char *at = sql, *end = sql + length;
    bool any = false;
    char why[300];
    while (!database_blank(at, end)) {
        struct place place = {sql, at, number};
        sqlite3_stmt *statement = NULL;
        const char *tail = end;
        int code = database_prepare(writer, at, (size_t)(end - at), &statement, &tail);
        if (code != SQLITE_OK) {
            error_reply(request, writer, code, &place);
            return -1;
        }
        at = tail;
        if (statement == NULL)
            continue;
        if ((any || !database_blank(tail, end)) && parameters != NULL && !json_is_null(parameters)) {
            sqlite3_finalize(statement);
            error_body(request, "A text of several statements can have no parameters.", -1);
            return -1;
        }
        any = true;
        if (json_bind_all(statement, parameters, why, sizeof why) != 0) {
            sqlite3_finalize(statement);
            error_body(request, why, -1);
            return -1;
        }
        if ((*results)++ > 0)
            text_string(out, ",\n");
        int64_t rows;
        code = collect(writer, statement, budget, out, NULL, &rows);
        if (out->failed)
            reply_too_large(request);
        else if (code != SQLITE_OK)
            error_reply(request, writer, code, &place);
        sqlite3_finalize(statement);
        if (code != SQLITE_OK)
            return -1;
    }
    if (!any) {
        error_body(request, "There is no statement in 'sql'.", -1);
        return -1;
    }
    return 0;
}

static bool begin(struct web_request *request) {
    int code = database_begin();
    if (code != SQLITE_OK)
        error_reply(request, database_writer(), code, NULL);
    return code == SQLITE_OK;
}

/* Commits. What was answered before this is not said to the client. */
static bool commit(struct web_request *request) {
    int code = database_commit();
    if (code != SQLITE_OK) {
        error_reply(request, database_writer(), code, NULL);
        database_rollback();
    }
    return code == SQLITE_OK;
}

int64_t query_write(struct web_request *request, const char *sql, const json_t *parameters, struct text *row) {
    struct connection *writer = database_writer();
    sqlite3_stmt *statement = NULL;
    char why[300];
    int64_t rows = -1, budget = limits.statement_timeout;
    int code = database_prepare(writer, sql, strlen(sql), &statement, NULL);
    if (code != SQLITE_OK) {
        error_reply(request, writer, code, NULL);
    } else if (json_bind_all(statement, parameters, why, sizeof why) != 0) {
        error_body(request, why, -1);
    } else if (begin(request)) {
        code = collect(writer, statement, &budget, NULL, row, &rows);
        if (code != SQLITE_OK) {
            error_reply(request, writer, code, NULL);
            sqlite3_finalize(statement);
            database_rollback();
            return -1;
        }
        sqlite3_finalize(statement);
        return commit(request) ? rows : -1;
    }
    sqlite3_finalize(statement);
    return -1;
}

static void write_query(struct web_request *request, const char *sql, size_t length, const json_t *parameters) {
    struct text out = {.limit = (size_t)limits.result_bytes};
    int64_t budget = limits.statement_timeout;
    size_t results = 0;
    if (!begin(request))
        return;
    if (run(request, sql, length, parameters, -1, &budget, &out, &results) != 0) {
        database_rollback();
    } else if (text_string(&out, "\n"), out.failed) {
        database_rollback();
        reply_too_large(request);
    } else if (commit(request)) {
        web_reply(request, 200, "application/json", out.data, out.length, WEB_OWNED);
        return;
    }
    text_free(&out);
}

void query_handle(struct web_request *request) {
    json_t *body = api_body(request);
    const json_t *parameters;
    const char *sql, *tail;
    size_t length;
    char why[300];
    if (body == NULL)
        return;
    if (read_statement(request, body, &sql, &length, &parameters) != 0) {
        json_decref(body);
        return;
    }
    struct connection *reader = database_reader();
    sqlite3_stmt *statement = NULL;
    struct place place = {sql, sql, -1};
    int code = SQLITE_OK;
    if (reader == NULL) {
        web_add_header(request, "Retry-After", "1");
        web_error(request, 503, "busy", "Too many results are being read now.");
    } else if ((code = database_prepare(reader, sql, length, &statement, &tail)) != SQLITE_OK) {
        error_reply(request, reader, code, &place);
    } else if (statement == NULL) {
        error_body(request, "There is no statement in 'sql'.", -1);
    } else if (!database_blank(tail, sql + length)) {
        web_error(request, 400, "several_statements", "There are several statements; send them to /api/transaction.");
    } else if (!sqlite3_stmt_readonly(statement)) {
        sqlite3_finalize(statement);
        database_release(reader);
        write_query(request, sql, length, parameters);
        json_decref(body);
        return;
    } else if (json_bind_all(statement, parameters, why, sizeof why) != 0) {
        error_body(request, why, -1);
    } else {
        result_reply(request, reader, statement, -1, limits.rows, &place);
        json_decref(body);
        return;
    }
    sqlite3_finalize(statement);
    if (reader != NULL)
        database_release(reader);
    json_decref(body);
}

void transaction_handle(struct web_request *request) {
    json_t *body = api_body(request);
    if (body == NULL)
        return;
    const json_t *statements = json_object_get(body, "statements");
    if (!json_is_array(statements) || json_array_size(statements) == 0 || json_object_size(body) != 1) {
        error_body(request, "'statements' must be there and be an array of at least one statement; nothing else is known "
                            "here.",
                   -1);
        json_decref(body);
        return;
    }
    struct text out = {.limit = (size_t)limits.result_bytes};
    int64_t budget = limits.statement_timeout;
    size_t results = 0;
    text_string(&out, "{\"results\":[");
    if (!begin(request)) {
        text_free(&out);
        json_decref(body);
        return;
    }
    for (size_t i = 0; i < json_array_size(statements); i++) {
        const json_t *parameters;
        const char *sql;
        size_t length;
        if (read_statement(request, json_array_get(statements, i), &sql, &length, &parameters) != 0 ||
            run(request, sql, length, parameters, (int)i, &budget, &out, &results) != 0) {
            database_rollback();
            text_free(&out);
            json_decref(body);
            return;
        }
    }
    json_decref(body);
    text_string(&out, "]}\n");
    if (out.failed) {
        database_rollback();
        reply_too_large(request);
    } else if (commit(request)) {
        web_reply(request, 200, "application/json", out.data, out.length, WEB_OWNED);
        return;
    }
    text_free(&out);
}
