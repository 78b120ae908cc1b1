/* SQLite interrupts a statement between two of its machine's instructions, never within a function. Those of its
 * functions whose time grows with the product of two arguments' lengths would keep the one thread busy for hours, so they
 * are replaced here: the same results, in linear time or with an eye on the deadline. */
#define _GNU_SOURCE 1 /* memmem */
#include <string.h>

#include "database.h"
#include "web/handler.h"

enum {
    LONG = 65536,      /* bytes from which the deadline is looked at before the work */
    COMPARISONS = 4096 /* between two looks at the deadline */
};
/* json_patch compares every member of one argument with every one of the other. A member has at least six bytes, so this
 * is a second of work at most. */
static const int64_t PATCH_PRODUCT = INT64_C(1) << 32;
static const unsigned JSON_SUBTYPE = 'J'; /* how SQLite's JSON functions know each other's results */

static sqlite3 *scratch; /* has the functions as SQLite made them; holds no data */
static sqlite3_stmt *patch;

static bool late(sqlite3_context *context) {
    const struct connection *connection = sqlite3_user_data(context);
    if (web_now() < connection->deadline)
        return false;
    sqlite3_result_error_code(context, SQLITE_INTERRUPT);
    return true;
}

/* Characters that begin in (0, end]; bytes that continue one in UTF-8 do not count. */
static int characters(const char *text, size_t end) {
    int count = 0;
    for (size_t i = 1; i <= end; i++)
        count += ((unsigned char)text[i] & 0xc0) != 0x80;
    return count;
}

/* Where `needle` is in `text`, from 1, in characters; 0: nowhere. A match begins where a character does, or at the
 * start; a needle that begins inside of a character can only be at the start. */
static int find_text(const char *text, size_t length, const char *needle, size_t needle_length) {
    if (((unsigned char)needle[0] & 0xc0) == 0x80)
        return needle_length <= length && memcmp(text, needle, needle_length) == 0;
    const char *at = memmem(text, length, needle, needle_length);
    return at == NULL ? 0 : characters(text, (size_t)(at - text)) + 1;
}

static void instr(sqlite3_context *context, int count, sqlite3_value **values) {
    (void)count;
    int type = sqlite3_value_type(values[0]), needle_type = sqlite3_value_type(values[1]);
    if (type == SQLITE_NULL || needle_type == SQLITE_NULL)
        return;
    if (sqlite3_value_bytes(values[0]) > LONG && late(context))
        return;
    bool blobs = type == SQLITE_BLOB && needle_type == SQLITE_BLOB;
    /* Where only one is a BLOB both count as text; copies, for a conversion would change the argument itself. */
    bool mixed = (type == SQLITE_BLOB) != (needle_type == SQLITE_BLOB);
    sqlite3_value *left = mixed ? sqlite3_value_dup(values[0]) : values[0];
    sqlite3_value *right = mixed ? sqlite3_value_dup(values[1]) : values[1];
    if (left != NULL && right != NULL) {
        const char *text = blobs ? sqlite3_value_blob(left) : (const char *)sqlite3_value_text(left);
        const char *needle = blobs ? sqlite3_value_blob(right) : (const char *)sqlite3_value_text(right);
        size_t length = (size_t)sqlite3_value_bytes(left), needle_length = (size_t)sqlite3_value_bytes(right);
        if (needle_length == 0) {
            sqlite3_result_int(context, 1);
        } else if (needle == NULL || (length > 0 && text == NULL)) {
            sqlite3_result_error_nomem(context);
        } else if (length == 0) {
            sqlite3_result_int(context, 0);
        } else if (blobs) {
            const char *at = memmem(text, length, needle, needle_length);
            sqlite3_result_int(context, at == NULL ? 0 : (int)(at - text) + 1);
        } else {
            sqlite3_result_int(context, find_text(text, length, needle, needle_length));
        }
    } else {
        sqlite3_result_error_nomem(context);
    }
    if (mixed) {
        sqlite3_value_free(left);
        sqlite3_value_free(right);
    }
}

static void replace(sqlite3_context *context, int count, sqlite3_value **values) {
    (void)count;
    const char *text = (const char *)sqlite3_value_text(values[0]);
    size_t length = (size_t)sqlite3_value_bytes(values[0]);
    const char *pattern = text != NULL ? (const char *)sqlite3_value_text(values[1]) : NULL;
    if (pattern == NULL || (length > LONG && late(context)))
        return;
    if (pattern[0] == '\0') {
        sqlite3_result_value(context, values[0]);
        return;
    }
    size_t pattern_length = (size_t)sqlite3_value_bytes(values[1]);
    const char *with = (const char *)sqlite3_value_text(values[2]);
    if (with == NULL)
        return;
    size_t with_length = (size_t)sqlite3_value_bytes(values[2]);
    const char *end = text + length;
    uint64_t size = length;
    for (const char *at = text; (at = memmem(at, (size_t)(end - at), pattern, pattern_length)) != NULL;
         at += pattern_length)
        size = size - pattern_length + with_length;
    if (size > (uint64_t)sqlite3_limit(sqlite3_context_db_handle(context), SQLITE_LIMIT_LENGTH, -1)) {
        sqlite3_result_error_toobig(context);
        return;
    }
    char *made = sqlite3_malloc64(size + 1), *out = made;
    if (made == NULL) {
        sqlite3_result_error_nomem(context);
        return;
    }
    for (const char *at; (at = memmem(text, (size_t)(end - text), pattern, pattern_length)) != NULL;
         text = at + pattern_length) {
        memcpy(out, text, (size_t)(at - text));
        out += at - text;
        memcpy(out, with, with_length);
        out += with_length;
    }
    memcpy(out, text, (size_t)(end - text));
    made[size] = '\0';
    sqlite3_result_text64(context, made, size, sqlite3_free, SQLITE_UTF8);
}

/* ---- ltrim, rtrim, trim ---- */

/* The length of the first character of a text that ends with a NUL, as SQLite counts: whatever continues a lead byte. */
static size_t character_length(const char *text) {
    size_t n = 1;
    if ((unsigned char)text[0] >= 0xc0)
        while (((unsigned char)text[n] & 0xc0) == 0x80)
            n++;
    return n;
}

/* The length of the first character of `set` that `text` begins (or, `from_end`, ends) with; 0: none of them; -1: it is
 * late. `*work` counts comparisons. */
static int trimmed(sqlite3_context *context, const char *text, size_t length, const char *set, bool from_end,
                   unsigned *work) {
    for (size_t n; *set != '\0'; set += n) {
        n = character_length(set);
        if (n <= length && memcmp(from_end ? text + length - n : text, set, n) == 0)
            return (int)n;
        if (++*work % COMPARISONS == 0 && late(context))
            return -1;
    }
    return 0;
}

static void trim_ends(sqlite3_context *context, sqlite3_value **values, bool left, bool right) {
    const char *text = (const char *)sqlite3_value_text(values[0]);
    size_t length = (size_t)sqlite3_value_bytes(values[0]);
    const char *set = text != NULL ? (const char *)sqlite3_value_text(values[1]) : NULL;
    unsigned work = 0;
    int n = 0;
    if (set == NULL || (length > LONG && late(context)))
        return;
    for (; left && (n = trimmed(context, text, length, set, false, &work)) > 0; length -= (size_t)n)
        text += n;
    while (n >= 0 && right && (n = trimmed(context, text, length, set, true, &work)) > 0)
        length -= (size_t)n;
    if (n >= 0)
        sqlite3_result_text64(context, text, length, SQLITE_TRANSIENT, SQLITE_UTF8);
}

static void trim(sqlite3_context *context, int count, sqlite3_value **values) {
    (void)count;
    trim_ends(context, values, true, true);
}

static void ltrim(sqlite3_context *context, int count, sqlite3_value **values) {
    (void)count;
    trim_ends(context, values, true, false);
}

static void rtrim(sqlite3_context *context, int count, sqlite3_value **values) {
    (void)count;
    trim_ends(context, values, false, true);
}

/* ---- json_patch: SQLite's own, on arguments whose lengths allow it ---- */

static void json_patch(sqlite3_context *context, int count, sqlite3_value **values) {
    (void)count;
    int64_t target = sqlite3_value_bytes(values[0]), changes = sqlite3_value_bytes(values[1]);
    if (late(context))
        return;
    if (target * changes > PATCH_PRODUCT) {
        sqlite3_result_error(context, "the arguments of json_patch() are too long", -1);
        sqlite3_result_error_code(context, SQLITE_TOOBIG);
        return;
    }
    int result = sqlite3_bind_value(patch, 1, values[0]);
    if (result == SQLITE_OK)
        result = sqlite3_bind_value(patch, 2, values[1]);
    if (result == SQLITE_OK)
        result = sqlite3_step(patch);
    if (result == SQLITE_ROW) {
        const char *text = (const char *)sqlite3_column_text(patch, 0);
        if (text != NULL) {
            sqlite3_result_text(context, text, sqlite3_column_bytes(patch, 0), SQLITE_TRANSIENT);
            sqlite3_result_subtype(context, JSON_SUBTYPE);
        }
    } else {
        sqlite3_result_error(context, sqlite3_errmsg(scratch), -1);
        if ((result & 0xff) != SQLITE_ERROR)
            sqlite3_result_error_code(context, result);
    }
    sqlite3_reset(patch);
    sqlite3_clear_bindings(patch);
}

/* ---- All of them ---- */

static const struct {
    const char *name;
    int arguments;
    void (*run)(sqlite3_context *context, int count, sqlite3_value **values);
} functions[] = {
    {"instr", 2, instr}, {"replace", 3, replace}, {"trim", 2, trim},
    {"ltrim", 2, ltrim}, {"rtrim", 2, rtrim},     {"json_patch", 2, json_patch},
};

int functions_replace(struct connection *connection) {
    int result = SQLITE_OK;
    if (scratch == NULL)
        result = sqlite3_open_v2(":memory:", &scratch, SQLITE_OPEN_READWRITE | SQLITE_OPEN_MEMORY | SQLITE_OPEN_NOMUTEX, NULL);
    if (result == SQLITE_OK && patch == NULL)
        result = sqlite3_prepare_v2(scratch, "SELECT json_patch(?1, ?2)", -1, &patch, NULL);
    for (size_t i = 0; result == SQLITE_OK && i < sizeof functions / sizeof functions[0]; i++)
        result = sqlite3_create_function(connection->handle, functions[i].name, functions[i].arguments,
                                         SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_INNOCUOUS, connection,
                                         functions[i].run, NULL, NULL);
    return result;
}

void functions_free(void) {
    sqlite3_finalize(patch);
    sqlite3_close(scratch);
    patch = NULL;
    scratch = NULL;
}
