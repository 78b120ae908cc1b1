/* libFuzzer: whatever a client sends as a body is decoded and bound, or refused with a sentence; and what was bound
 * is written as JSON that reads back. */
#include <stdlib.h>
#include <string.h>

#include "json.h"

static sqlite3 *database;
static sqlite3_stmt *one, *named;

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc;
    (void)argv;
    if (sqlite3_initialize() != SQLITE_OK || sqlite3_open(":memory:", &database) != SQLITE_OK ||
        sqlite3_prepare_v2(database, "SELECT ?", -1, &one, NULL) != SQLITE_OK ||
        sqlite3_prepare_v2(database, "SELECT :a, @b, $c", -1, &named, NULL) != SQLITE_OK)
        abort();
    return 0;
}

static void check_round_trip(void) {
    struct text text = {.limit = 1 << 22};
    if (sqlite3_step(one) != SQLITE_ROW)
        abort();
    text_string(&text, "[");
    text_column(&text, one, 0);
    text_string(&text, "]");
    json_error_t error;
    json_t *back = text.failed ? NULL : json_loadb(text.data, text.length, JSON_ALLOW_NUL, &error);
    if (!text.failed && back == NULL)
        abort(); /* what we write must be JSON */
    json_decref(back);
    text_free(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char why[300] = "";
    int64_t offset;
    json_t *body = json_body((const char *)data, size, why, sizeof why, &offset);
    if (body == NULL) {
        if (why[0] == '\0' || offset > (int64_t)size)
            abort(); /* every refusal says why, and points into the body */
        return 0;
    }
    const json_t *parameters = json_object_get(body, "parameters");
    if (json_bind_all(one, parameters, why, sizeof why) == 0)
        check_round_trip();
    json_bind_all(named, parameters, why, sizeof why);
    sqlite3_reset(one);
    sqlite3_clear_bindings(one);
    sqlite3_clear_bindings(named);
    json_decref(body);
    return 0;
}
