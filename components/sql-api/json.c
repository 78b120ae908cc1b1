#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "web/handler.h"

/* ---- Writing ---- */

/* Room for `more` bytes at the end, or NULL. */
static char *room(struct text *text, size_t more) {
    if (text->failed)
        return NULL;
    if (more > text->limit - text->length) {
        text->failed = true;
        return NULL;
    }
    if (more > text->capacity - text->length) {
        size_t capacity = text->capacity < 512 ? 1024 : text->capacity * 2;
        while (capacity - text->length < more)
            capacity *= 2;
        if (capacity > text->limit)
            capacity = text->limit;
        char *grown = realloc(text->data, capacity);
        if (grown == NULL) {
            text->failed = true;
            return NULL;
        }
        text->data = grown;
        text->capacity = capacity;
    }
    return text->data + text->length;
}

void text_add(struct text *text, const char *data, size_t length) {
    char *at = room(text, length);
    if (at != NULL && length > 0) {
        memcpy(at, data, length);
        text->length += length;
    }
}

void text_string(struct text *text, const char *literal) { text_add(text, literal, strlen(literal)); }

void text_integer(struct text *text, int64_t value) {
    char digits[24];
    text_add(text, digits, (size_t)snprintf(digits, sizeof digits, "%" PRId64, value));
}

void text_quoted(struct text *text, const char *data, size_t length) {
    text_string(text, "\"");
    /* Six bytes for one is the worst case; pieces keep the room small. */
    while (length > 0 && !text->failed) {
        size_t piece = length < 4096 ? length : 4096;
        while (piece < length && piece > 4092 && ((unsigned char)data[piece] & 0xc0) == 0x80)
            piece--; /* never cut a character */
        char *at = room(text, piece * 6 + 1);
        if (at == NULL)
            return;
        text->length += web_json_escape(at, piece * 6 + 1, data, piece);
        data += piece;
        length -= piece;
    }
    text_string(text, "\"");
}

void text_quoted_z(struct text *text, const char *data) { text_quoted(text, data, strlen(data)); }

void text_free(struct text *text) {
    free(text->data);
    *text = (struct text){0};
}

static void add_base64(struct text *text, const unsigned char *data, size_t length) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *at = room(text, (length + 2) / 3 * 4);
    if (at == NULL)
        return;
    text->length += (length + 2) / 3 * 4;
    for (size_t i = 0; i < length; i += 3) {
        size_t left = length - i;
        uint32_t three = (uint32_t)data[i] << 16 | (left > 1 ? (uint32_t)data[i + 1] << 8 : 0) |
                         (left > 2 ? data[i + 2] : 0);
        *at++ = digits[three >> 18];
        *at++ = digits[three >> 12 & 63];
        *at++ = left > 1 ? digits[three >> 6 & 63] : '=';
        *at++ = left > 2 ? digits[three & 63] : '=';
    }
}

/* The shortest of 15, 16 and 17 digits that reads back as the same number; always with a point or an exponent, so
 * that it stays a REAL. */
static void add_real(struct text *text, double value) {
    if (isinf(value)) {
        text_string(text, value > 0 ? "{\"real\":\"Infinity\"}" : "{\"real\":\"-Infinity\"}");
        return;
    }
    char digits[40];
    int n = 0;
    for (int precision = 15; precision <= 17; precision++) {
        n = snprintf(digits, sizeof digits - 2, "%.*g", precision, value);
        if (strtod(digits, NULL) == value)
            break;
    }
    if (strpbrk(digits, ".e") == NULL) {
        memcpy(digits + n, ".0", 2);
        n += 2;
    }
    text_add(text, digits, (size_t)n);
}

static bool valid_utf8(const unsigned char *data, size_t length) {
    for (size_t i = 0; i < length;) {
        unsigned char c = data[i];
        if (c < 0x80) {
            i++;
            continue;
        }
        size_t need = c >= 0xc2 && c <= 0xdf ? 1 : (c & 0xf0) == 0xe0 ? 2 : c >= 0xf0 && c <= 0xf4 ? 3 : 0;
        if (need == 0 || need >= length - i)
            return false;
        unsigned char second = data[i + 1];
        if ((c == 0xe0 && second < 0xa0) || (c == 0xed && second > 0x9f) || (c == 0xf0 && second < 0x90) ||
            (c == 0xf4 && second > 0x8f))
            return false;
        for (size_t k = 1; k <= need; k++)
            if ((data[i + k] & 0xc0) != 0x80)
                return false;
        i += need + 1;
    }
    return true;
}

void text_column(struct text *text, sqlite3_stmt *statement, int column) {
    static const int64_t exact = INT64_C(1) << 53; /* what a JSON reader with doubles keeps */
    switch (sqlite3_column_type(statement, column)) {
    case SQLITE_INTEGER: {
        int64_t value = sqlite3_column_int64(statement, column);
        bool large = value >= exact || value <= -exact;
        text_string(text, large ? "{\"integer\":\"" : "");
        text_integer(text, value);
        text_string(text, large ? "\"}" : "");
        break;
    }
    case SQLITE_FLOAT:
        add_real(text, sqlite3_column_double(statement, column));
        break;
    case SQLITE_TEXT: {
        const unsigned char *data = sqlite3_column_text(statement, column);
        size_t length = (size_t)sqlite3_column_bytes(statement, column);
        if (data == NULL) {
            text->failed = true;
        } else if (valid_utf8(data, length)) {
            text_quoted(text, (const char *)data, length);
        } else {
            text_string(text, "{\"text_base64\":\"");
            add_base64(text, data, length);
            text_string(text, "\"}");
        }
        break;
    }
    case SQLITE_BLOB: {
        const void *data = sqlite3_column_blob(statement, column);
        text_string(text, "{\"base64\":\"");
        add_base64(text, data, (size_t)sqlite3_column_bytes(statement, column));
        text_string(text, "\"}");
        break;
    }
    default:
        text_string(text, "null");
    }
}

/* ---- Reading ---- */

json_t *json_body(const char *body, size_t length, char *why, size_t size, int64_t *offset) {
    json_error_t error;
    json_t *value = json_loadb(body, length, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    *offset = -1;
    if (value == NULL) {
        snprintf(why, size, "The body is not JSON: line %d, column %d: %s.", error.line, error.column, error.text);
        *offset = error.position;
    } else if (!json_is_object(value)) {
        snprintf(why, size, "The body must be a JSON object.");
        json_decref(value);
        value = NULL;
    }
    return value;
}

static int base64_digit(char c) {
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* RFC 4648, section 4, padded; unused bits must be zero. Length, or -1. `out` has room for length / 4 * 3 bytes. */
static ssize_t decode_base64(const char *text, size_t length, unsigned char *out) {
    size_t used = 0;
    if (length % 4 != 0)
        return -1;
    for (size_t i = 0; i < length; i += 4) {
        size_t padding = i + 4 < length ? 0 : text[i + 3] != '=' ? 0 : text[i + 2] != '=' ? 1 : 2;
        uint32_t three = 0;
        for (size_t k = 0; k < 4; k++) {
            int digit = k < 4 - padding ? base64_digit(text[i + k]) : 0;
            if (digit < 0)
                return -1;
            three = three << 6 | (uint32_t)digit;
        }
        if ((padding == 1 && (three & 0xff)) || (padding == 2 && (three & 0xffff)))
            return -1;
        for (size_t k = 0; k < 3 - padding; k++)
            out[used++] = (unsigned char)(three >> (16 - 8 * k));
    }
    return (ssize_t)used;
}

static int bind_base64(sqlite3_stmt *statement, int index, const json_t *value, bool as_text, char *why, size_t size) {
    size_t length = json_string_length(value);
    unsigned char *data = sqlite3_malloc64(length / 4 * 3 + 1);
    ssize_t n = data != NULL ? decode_base64(json_string_value(value), length, data) : -1;
    if (n < 0) {
        sqlite3_free(data);
        snprintf(why, size, "Parameter %d is not valid base64.", index);
        return -1;
    }
    int result = as_text ? sqlite3_bind_text64(statement, index, (char *)data, (sqlite3_uint64)n, sqlite3_free, SQLITE_UTF8)
                         : sqlite3_bind_blob64(statement, index, data, (sqlite3_uint64)n, sqlite3_free);
    return result == SQLITE_OK ? 0 : -2;
}

static int bind_special(sqlite3_stmt *statement, int index, const json_t *object, char *why, size_t size) {
    const char *kind = NULL;
    const json_t *value = NULL;
    if (json_object_size(object) == 1) {
        void *only = json_object_iter((json_t *)object);
        kind = json_object_iter_key(only);
        value = json_object_iter_value(only);
    }
    if (kind == NULL || !json_is_string(value))
        goto unknown;
    const char *text = json_string_value(value);
    if (strcmp(kind, "integer") == 0) {
        char canonical[24];
        long long number = strtoll(text, NULL, 10);
        snprintf(canonical, sizeof canonical, "%lld", number);
        if (strcmp(canonical, text) != 0) {
            snprintf(why, size, "Parameter %d is not a whole number of 64 bits.", index);
            return -1;
        }
        return sqlite3_bind_int64(statement, index, number) == SQLITE_OK ? 0 : -2;
    }
    if (strcmp(kind, "real") == 0) {
        double number = strcmp(text, "Infinity") == 0 ? INFINITY : strcmp(text, "-Infinity") == 0 ? -INFINITY : 0;
        if (number == 0) {
            snprintf(why, size, "Parameter %d: 'real' must be 'Infinity' or '-Infinity'; SQLite has no NaN.", index);
            return -1;
        }
        return sqlite3_bind_double(statement, index, number) == SQLITE_OK ? 0 : -2;
    }
    if (strcmp(kind, "base64") == 0)
        return bind_base64(statement, index, value, false, why, size);
    if (strcmp(kind, "text_base64") == 0)
        return bind_base64(statement, index, value, true, why, size);
unknown:
    snprintf(why, size,
             "Parameter %d is an object; allowed are {\"integer\": \"...\"}, {\"real\": \"Infinity\"}, "
             "{\"base64\": \"...\"} and {\"text_base64\": \"...\"}.",
             index);
    return -1;
}

int json_bind(sqlite3_stmt *statement, int index, const json_t *value, char *why, size_t size) {
    int result;
    switch (json_typeof(value)) {
    case JSON_NULL:
        result = sqlite3_bind_null(statement, index);
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        result = sqlite3_bind_int(statement, index, json_is_true(value));
        break;
    case JSON_INTEGER:
        result = sqlite3_bind_int64(statement, index, json_integer_value(value));
        break;
    case JSON_REAL:
        result = sqlite3_bind_double(statement, index, json_real_value(value));
        break;
    case JSON_STRING:
        result = sqlite3_bind_text64(statement, index, json_string_value(value), json_string_length(value),
                                     SQLITE_TRANSIENT, SQLITE_UTF8);
        break;
    case JSON_OBJECT:
        result = bind_special(statement, index, value, why, size);
        if (result == -1)
            return -1;
        break;
    default:
        snprintf(why, size, "Parameter %d is an array; a value is one of null, a number, a text or an object.", index);
        return -1;
    }
    if (result != SQLITE_OK) {
        snprintf(why, size, "Parameter %d is too large.", index);
        return -1;
    }
    return 0;
}

int json_bind_all(sqlite3_stmt *statement, const json_t *parameters, char *why, size_t size) {
    int count = sqlite3_bind_parameter_count(statement);
    if (json_is_object(parameters)) {
        size_t used = 0;
        for (int i = 1; i <= count; i++) {
            const char *name = sqlite3_bind_parameter_name(statement, i);
            const json_t *value = name != NULL ? json_object_get(parameters, name + 1) : NULL;
            if (value == NULL) {
                snprintf(why, size, "There is no value for the parameter '%s'.", name != NULL ? name : "?");
                return -1;
            }
            if (json_bind(statement, i, value, why, size) != 0)
                return -1;
            used++;
        }
        if (used != json_object_size(parameters)) {
            snprintf(why, size, "%zu values were given for %zu named parameters.", json_object_size(parameters), used);
            return -1;
        }
        return 0;
    }
    if (parameters != NULL && !json_is_null(parameters) && !json_is_array(parameters)) {
        snprintf(why, size, "'parameters' must be an array or an object.");
        return -1;
    }
    size_t given = json_array_size(parameters);
    if (given != (size_t)count) {
        snprintf(why, size, "The statement has %d parameter%s, but %zu %s given.", count, count == 1 ? "" : "s", given,
                 given == 1 ? "value was" : "values were");
        return -1;
    }
    for (int i = 0; i < count; i++)
        if (json_bind(statement, i + 1, json_array_get(parameters, (size_t)i), why, size) != 0)
            return -1;
    return 0;
}
