/* /api/tables/NAME/rows: read pages of rows; insert, change and delete one row, named by its key. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api.h"

/* A number in the query between 0 and `most`. False: it has replied. */
static bool query_number(struct web_request *request, const char *name, int64_t fallback, int64_t most, int64_t *value) {
    char *text = web_query(request, name, NULL);
    *value = fallback;
    if (text == NULL)
        return true;
    char *end;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    bool good = errno == 0 && end != text && *end == '\0' && number >= 0;
    free(text);
    if (!good) {
        char why[100];
        snprintf(why, sizeof why, "'%s' must be a whole number, not negative.", name);
        error_body(request, why, -1);
        return false;
    }
    *value = number < most ? number : most;
    return true;
}

static void list(struct web_request *request, const char *name) {
    int64_t limit, offset;
    struct table table;
    if (!query_number(request, "limit", limits.rows < 100 ? limits.rows : 100, limits.rows, &limit) ||
        !query_number(request, "offset", 0, INT64_MAX, &offset))
        return;
    struct connection *reader = database_reader();
    if (reader == NULL) {
        web_add_header(request, "Retry-After", "1");
        web_error(request, 503, "busy", "Too many results are being read now.");
        return;
    }
    if (table_load(request, reader, name, &table) != 0) {
        database_release(reader);
        return;
    }
    char *order = web_query(request, "order", NULL), *descending = web_query(request, "descending", NULL);
    const char *direction = descending != NULL && strcmp(descending, "1") == 0 ? " DESC" : "";
    sqlite3_str *sql = sqlite3_str_new(reader->handle);
    sqlite3_str_appendall(sql, "SELECT ");
    for (int i = 0; i < table.keys; i++)
        sqlite3_str_appendf(sql, "\"%w\" AS \"%w\", ", table.key[i], table.key[i]);
    sqlite3_str_appendf(sql, "\"%w\".* FROM \"%w\"", table.name, table.name);
    if (order != NULL)
        sqlite3_str_appendf(sql, " ORDER BY \"%w\"%s", order, direction);
    for (int i = 0; i < table.keys; i++)
        sqlite3_str_appendf(sql, "%s\"%w\"%s", i == 0 && order == NULL ? " ORDER BY " : ", ", table.key[i], direction);
    sqlite3_str_appendall(sql, " LIMIT ?1 OFFSET ?2");
    char *text = sqlite3_str_finish(sql);
    sqlite3_stmt *statement = NULL;
    int code = text != NULL ? database_prepare(reader, text, strlen(text), &statement, NULL) : SQLITE_NOMEM;
    if (code == SQLITE_OK)
        code = sqlite3_bind_int64(statement, 1, limit < INT64_MAX ? limit + 1 : limit);
    if (code == SQLITE_OK)
        code = sqlite3_bind_int64(statement, 2, offset);
    if (code == SQLITE_OK) {
        result_reply(request, reader, statement, table.keys, limit, NULL);
    } else {
        error_reply(request, reader, code, NULL);
        sqlite3_finalize(statement);
        database_release(reader);
    }
    sqlite3_free(text);
    free(order);
    free(descending);
    table_free(&table);
}

/* The member `name` of `body`, an object that is not empty (unless `may_be_empty`). NULL: it has replied. */
static const json_t *member(struct web_request *request, const json_t *body, const char *name) {
    const json_t *value = json_object_get(body, name);
    if (json_is_object(value))
        return value;
    char why[100];
    snprintf(why, sizeof why, "'%s' must be there and be an object of columns and values.", name);
    error_body(request, why, -1);
    return NULL;
}

static bool only_known(struct web_request *request, const json_t *body, size_t known) {
    if (json_object_size(body) == known)
        return true;
    error_body(request, "There is a member that is not known here.", -1);
    return false;
}

static void append_returning(sqlite3_str *sql, const struct table *table) {
    for (int i = 0; i < table->keys; i++)
        sqlite3_str_appendf(sql, "%s\"%w\"", i == 0 ? " RETURNING " : ", ", table->key[i]);
}

/* The array of the argument `key`, as many values as the table's key has. NULL: it has replied. */
static json_t *read_key(struct web_request *request, const struct table *table) {
    if (table->keys == 0) {
        web_error(request, 400, "no_key", "The rows of '%s' have no key, so one row cannot be changed.", table->name);
        return NULL;
    }
    size_t length = 0;
    json_error_t error;
    char *text = web_query(request, "key", &length);
    json_t *key = text != NULL ? json_loadb(text, length, JSON_ALLOW_NUL, &error) : NULL;
    free(text);
    if (!json_is_array(key) || json_array_size(key) != (size_t)table->keys) {
        char why[160];
        snprintf(why, sizeof why, "The argument 'key' must be a JSON array of %d value%s.", table->keys,
                 table->keys == 1 ? "" : "s");
        error_body(request, why, -1);
        json_decref(key);
        return NULL;
    }
    return key;
}

static void append_key(sqlite3_str *sql, const struct table *table) {
    for (int i = 0; i < table->keys; i++)
        sqlite3_str_appendf(sql, "%s\"%w\" IS ?", i == 0 ? " WHERE " : " AND ", table->key[i]);
}

/* Runs `sql` (ended here) and drops it. The number of rows that it returned, or -1: it has replied. */
static int64_t finish(struct web_request *request, sqlite3_str *sql, const json_t *parameters, struct text *row) {
    char *text = sqlite3_str_finish(sql);
    int64_t rows = -1;
    if (text == NULL || parameters == NULL)
        web_error(request, 503, "out_of_memory", "There is no memory for the statement.");
    else
        rows = query_write(request, text, parameters, row);
    sqlite3_free(text);
    return rows;
}

static void reply_key(struct web_request *request, unsigned status, const struct text *row) {
    struct text answer = {.limit = 32 << 20};
    text_string(&answer, "{\"key\":");
    if (row->length > 0)
        text_add(&answer, row->data, row->length);
    else
        text_string(&answer, "null");
    text_string(&answer, "}\n");
    if (answer.failed) {
        text_free(&answer);
        web_error(request, 503, "out_of_memory", "The change is done, but there is no memory for the answer.");
        return;
    }
    web_reply(request, status, "application/json", answer.data, answer.length, WEB_OWNED);
}

static void insert(struct web_request *request, const struct table *table) {
    json_t *body = api_body(request), *parameters = json_array();
    const json_t *values, *value;
    const char *column;
    struct text row = {.limit = 16 << 20};
    if (body != NULL && (values = member(request, body, "values")) != NULL && only_known(request, body, 1)) {
        sqlite3_str *sql = sqlite3_str_new(database_writer()->handle);
        sqlite3_str_appendf(sql, "INSERT INTO \"%w\"", table->name);
        if (json_object_size(values) == 0) {
            sqlite3_str_appendall(sql, " DEFAULT VALUES");
        } else {
            json_object_foreach((json_t *)values, column, value) {
                sqlite3_str_appendf(sql, "%s\"%w\"", json_array_size(parameters) == 0 ? " (" : ", ", column);
                json_array_append(parameters, (json_t *)value);
            }
            for (size_t i = 0; i < json_array_size(parameters); i++)
                sqlite3_str_appendall(sql, i == 0 ? ") VALUES (?" : ", ?");
            sqlite3_str_appendall(sql, ")");
        }
        append_returning(sql, table);
        if (finish(request, sql, parameters, &row) >= 0)
            reply_key(request, 201, &row);
    }
    text_free(&row);
    json_decref(parameters);
    json_decref(body);
}

/* Nothing was changed: because there is no such row, or because it is not as expected? */
static void reply_not_changed(struct web_request *request, const json_t *expected) {
    if (json_object_size(expected) > 0)
        web_error(request, 409, "changed", "The row is gone, or not as expected any more; nothing was changed.");
    else
        web_error(request, 404, "not_found", "There is no row with this key.");
}

static void update(struct web_request *request, const struct table *table) {
    json_t *key = read_key(request, table);
    json_t *body = key != NULL ? api_body(request) : NULL, *parameters = json_array();
    const json_t *values, *value;
    const char *column;
    struct text row = {.limit = 16 << 20};
    if (body != NULL && (values = member(request, body, "values")) != NULL) {
        const json_t *expected = json_object_get(body, "expected");
        if (json_object_size(values) == 0) {
            error_body(request, "'values' names no column.", -1);
        } else if (expected != NULL && !json_is_object(expected)) {
            error_body(request, "'expected' must be an object of columns and values.", -1);
        } else if (only_known(request, body, expected != NULL ? 2 : 1)) {
            sqlite3_str *sql = sqlite3_str_new(database_writer()->handle);
            sqlite3_str_appendf(sql, "UPDATE \"%w\"", table->name);
            json_object_foreach((json_t *)values, column, value) {
                sqlite3_str_appendf(sql, "%s\"%w\" = ?", json_array_size(parameters) == 0 ? " SET " : ", ", column);
                json_array_append(parameters, (json_t *)value);
            }
            append_key(sql, table);
            json_array_extend(parameters, key);
            json_object_foreach((json_t *)expected, column, value) {
                sqlite3_str_appendf(sql, " AND \"%w\" IS ?", column);
                json_array_append(parameters, (json_t *)value);
            }
            append_returning(sql, table);
            int64_t rows = finish(request, sql, parameters, &row);
            if (rows == 0)
                reply_not_changed(request, expected);
            else if (rows > 0)
                reply_key(request, 200, &row);
        }
    }
    text_free(&row);
    json_decref(parameters);
    json_decref(body);
    json_decref(key);
}

static void delete(struct web_request *request, const struct table *table) {
    json_t *key = api_same_origin(request) ? read_key(request, table) : NULL;
    struct text row = {.limit = 16 << 20};
    if (key != NULL) {
        sqlite3_str *sql = sqlite3_str_new(database_writer()->handle);
        sqlite3_str_appendf(sql, "DELETE FROM \"%w\"", table->name);
        append_key(sql, table);
        append_returning(sql, table);
        int64_t rows = finish(request, sql, key, &row);
        if (rows == 0)
            reply_not_changed(request, NULL);
        else if (rows > 0)
            reply_key(request, 200, &row);
    }
    text_free(&row);
    json_decref(key);
}

void rows_handle(struct web_request *request, const char *name) {
    if (web_method(request) == WEB_GET) {
        list(request, name);
        return;
    }
    struct table table;
    if (table_load(request, database_writer(), name, &table) != 0)
        return;
    if (web_method(request) == WEB_POST)
        insert(request, &table);
    else if (web_method(request) == WEB_PATCH)
        update(request, &table);
    else
        delete (request, &table);
    table_free(&table);
}
