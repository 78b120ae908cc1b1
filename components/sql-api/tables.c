/* GET /api/tables and GET /api/tables/NAME. */
#include <stdio.h>
#include <string.h>

#include "api.h"

enum { COUNT_BUDGET = 200 /* ms */ };

/* Replies with the JSON text that a statement of ours returns in its first column. */
static void reply_json(struct web_request *request, struct connection *reader, const char *sql, const char *argument,
                       const char *more) {
    sqlite3_stmt *statement = NULL;
    int64_t budget = limits.statement_timeout;
    reader->trusted = true;
    int code = database_prepare(reader, sql, strlen(sql), &statement, NULL);
    if (code == SQLITE_OK && argument != NULL)
        code = sqlite3_bind_text(statement, 1, argument, -1, SQLITE_STATIC);
    if (code == SQLITE_OK)
        code = database_step(reader, statement, &budget);
    if (code == SQLITE_ROW) {
        struct text text = {.limit = 32 << 20};
        const char *json = (const char *)sqlite3_column_text(statement, 0);
        size_t length = (size_t)sqlite3_column_bytes(statement, 0);
        if (json != NULL && length > 0)
            text_add(&text, json, length - 1); /* without the last brace */
        text_string(&text, more);
        text_string(&text, "}\n");
        if (json == NULL || text.failed) {
            text_free(&text);
            web_error(request, 503, "out_of_memory", "There is no memory for the answer.");
        } else {
            web_reply(request, 200, "application/json", text.data, text.length, WEB_OWNED);
        }
    } else {
        error_reply(request, reader, code, NULL);
    }
    sqlite3_finalize(statement);
    reader->trusted = false;
}

static struct connection *reader_or_busy(struct web_request *request) {
    struct connection *reader = database_reader();
    if (reader == NULL) {
        web_add_header(request, "Retry-After", "1");
        web_error(request, 503, "busy", "Too many results are being read now.");
    }
    return reader;
}

void tables_list(struct web_request *request) {
    struct connection *reader = reader_or_busy(request);
    if (reader == NULL)
        return;
    reply_json(request, reader,
               "SELECT json_object('tables', json_group_array(json_object('name', name, 'type', type, 'columns', ncol)))"
               " FROM (SELECT name, type, ncol FROM pragma_table_list WHERE schema = 'main'"
               " AND substr(name, 1, 7) <> 'sqlite_' ORDER BY name COLLATE NOCASE)",
               NULL, "");
    database_release(reader);
}

/* Names of the columns, quoted or not, that a rowid may be asked by; the first that no column of the table hides. */
static const char *const rowid_names[] = {"rowid", "_rowid_", "oid"};

void table_free(struct table *table) {
    for (int i = 0; i < table->keys; i++)
        sqlite3_free(table->key[i]);
    table->keys = 0;
}

static int add_key(struct table *table, const char *name) {
    char *copy = name != NULL && table->keys < MOST_KEYS ? sqlite3_mprintf("%s", name) : NULL;
    if (copy == NULL)
        return SQLITE_NOMEM;
    table->key[table->keys++] = copy;
    return SQLITE_OK;
}

static int find_keys(struct connection *connection, struct table *table, bool without_rowid) {
    sqlite3_stmt *statement = NULL;
    const char *sql =
        without_rowid
            ? "SELECT name FROM pragma_table_xinfo(?1) WHERE pk > 0 ORDER BY pk"
            : "SELECT lower(name) FROM pragma_table_xinfo(?1) WHERE lower(name) IN ('rowid', '_rowid_', 'oid')";
    int64_t budget = limits.statement_timeout;
    bool hidden[3] = {false, false, false};
    int code = database_prepare(connection, sql, strlen(sql), &statement, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_bind_text(statement, 1, table->name, -1, SQLITE_STATIC);
    while (code == SQLITE_OK && (code = database_step(connection, statement, &budget)) == SQLITE_ROW) {
        const char *name = (const char *)sqlite3_column_text(statement, 0);
        code = SQLITE_OK;
        if (without_rowid)
            code = add_key(table, name);
        for (int i = 0; !without_rowid && name != NULL && i < 3; i++)
            hidden[i] |= strcmp(name, rowid_names[i]) == 0;
    }
    sqlite3_finalize(statement);
    if (code != SQLITE_DONE)
        return code;
    for (int i = 0; !without_rowid && i < 3; i++)
        if (!hidden[i])
            return add_key(table, rowid_names[i]);
    return SQLITE_OK;
}

int table_load(struct web_request *request, struct connection *connection, const char *name, struct table *table) {
    static const char sql[] = "SELECT name, type, wr FROM pragma_table_list"
                              " WHERE schema = 'main' AND lower(name) = lower(?1)";
    sqlite3_stmt *statement = NULL;
    int64_t budget = limits.statement_timeout;
    *table = (struct table){0};
    connection->trusted = true;
    int code = database_prepare(connection, sql, sizeof sql - 1, &statement, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_bind_text(statement, 1, name, -1, SQLITE_STATIC);
    if (code == SQLITE_OK)
        code = database_step(connection, statement, &budget);
    bool found = code == SQLITE_ROW;
    if (found) {
        const char *real = (const char *)sqlite3_column_text(statement, 0);
        const char *type = (const char *)sqlite3_column_text(statement, 1);
        bool without_rowid = sqlite3_column_int(statement, 2) != 0;
        code = real == NULL || type == NULL ? SQLITE_NOMEM : SQLITE_OK;
        if (code == SQLITE_OK) {
            snprintf(table->name, sizeof table->name, "%s", real);
            table->view = strcmp(type, "view") == 0;
        }
        sqlite3_finalize(statement);
        statement = NULL;
        if (code == SQLITE_OK && !table->view)
            code = find_keys(connection, table, without_rowid);
    }
    sqlite3_finalize(statement);
    connection->trusted = false;
    if (code == SQLITE_DONE && !found) {
        web_error(request, 404, "not_found", "There is no table or view '%s'.", name);
        return -1;
    }
    if (code != SQLITE_OK) {
        error_reply(request, connection, code, NULL);
        table_free(table);
        return -1;
    }
    return 0;
}

/* The number of rows, or -1 where counting takes too long. */
static int64_t count_rows(struct connection *reader, const char *name) {
    char *sql = sqlite3_mprintf("SELECT count(*) FROM \"%w\"", name);
    sqlite3_stmt *statement = NULL;
    int64_t budget = COUNT_BUDGET, rows = -1;
    if (sql != NULL && database_prepare(reader, sql, strlen(sql), &statement, NULL) == SQLITE_OK &&
        database_step(reader, statement, &budget) == SQLITE_ROW)
        rows = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    sqlite3_free(sql);
    return rows;
}

void table_describe(struct web_request *request, const char *name) {
    static const char sql[] =
        "SELECT json_object('name', ?1, 'type', (SELECT type FROM pragma_table_list WHERE schema = 'main' AND name = ?1),"
        " 'sql', (SELECT sql FROM sqlite_schema WHERE name = ?1 AND type IN ('table', 'view')),"
        " 'columns', json((SELECT json_group_array(json_object('name', name, 'type', type, 'not_null',"
        "  json(iif(\"notnull\", 'true', 'false')), 'default', dflt_value, 'primary_key', pk,"
        "  'generated', json(iif(hidden > 1, 'true', 'false')))) FROM pragma_table_xinfo(?1))),"
        " 'indexes', json((SELECT json_group_array(json_object('name', name, 'unique',"
        "  json(iif(\"unique\", 'true', 'false')), 'columns',"
        "  json((SELECT json_group_array(name) FROM pragma_index_info(list.name))))) FROM pragma_index_list(?1) AS list)),"
        " 'foreign_keys', json((SELECT json_group_array(json_object('column', \"from\", 'table', \"table\", 'to', \"to\"))"
        "  FROM pragma_foreign_key_list(?1))))";
    struct connection *reader = reader_or_busy(request);
    struct table table;
    if (reader == NULL)
        return;
    if (table_load(request, reader, name, &table) == 0) {
        struct text more = {.limit = 65536};
        text_string(&more, ",\"key\":[");
        for (int i = 0; i < table.keys; i++) {
            text_string(&more, i > 0 ? "," : "");
            text_quoted_z(&more, table.key[i]);
        }
        text_string(&more, "],\"row_count\":");
        int64_t rows = count_rows(reader, table.name);
        if (rows >= 0)
            text_integer(&more, rows);
        else
            text_string(&more, "null");
        text_add(&more, "", 1);
        if (more.failed)
            web_error(request, 503, "out_of_memory", "There is no memory for the answer.");
        else
            reply_json(request, reader, sql, table.name, more.data);
        text_free(&more);
        table_free(&table);
    }
    database_release(reader);
}
