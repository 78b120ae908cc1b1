#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server.h"

/* The section's ends, made by the linker; absent (weak, so null) where no handler is linked in. */
extern const struct web_handler *const __start_web_handlers[] __attribute__((weak, visibility("hidden")));
extern const struct web_handler *const __stop_web_handlers[] __attribute__((weak, visibility("hidden")));

enum { MOST_HANDLERS = 64 };
static const struct web_handler *handlers[MOST_HANDLERS + 1]; /* longest prefix first, files last */
static size_t count;

static int by_prefix(const void *left, const void *right) {
    const struct web_handler *a = *(const struct web_handler *const *)left;
    const struct web_handler *b = *(const struct web_handler *const *)right;
    size_t la = strlen(a->prefix), lb = strlen(b->prefix);
    return la != lb ? (la < lb) - (la > lb) : strcmp(a->prefix, b->prefix);
}

int route_init(char *why, size_t size) {
    for (const struct web_handler *const *entry = __start_web_handlers; entry != __stop_web_handlers; entry++) {
        if (count == MOST_HANDLERS) {
            snprintf(why, size, "there are more than %d handlers.", MOST_HANDLERS);
            return -1;
        }
        handlers[count++] = *entry;
    }
    qsort(handlers, count, sizeof handlers[0], by_prefix);
    for (size_t i = 0; i < count; i++) {
        const char *prefix = handlers[i]->prefix;
        size_t length = strlen(prefix);
        if (prefix[0] != '/' || (length > 1 && prefix[length - 1] == '/')) {
            snprintf(why, size, "the handler '%s' has the prefix '%s'; it must begin with '/' and not end with it.",
                     handlers[i]->name, prefix);
            return -1;
        }
        if (i > 0 && strcmp(handlers[i - 1]->prefix, prefix) == 0) {
            snprintf(why, size, "the handlers '%s' and '%s' have the same prefix '%s'.", handlers[i - 1]->name,
                     handlers[i]->name, prefix);
            return -1;
        }
    }
    handlers[count++] = &files_handler;
    for (size_t i = 0; i < count; i++) {
        char reason[400] = "it gave no reason.";
        if (handlers[i]->init != NULL && handlers[i]->init(reason, sizeof reason) != 0) {
            snprintf(why, size, "the handler '%s' could not start: %s", handlers[i]->name, reason);
            return -1;
        }
    }
    return 0;
}

void route_shutdown(void) {
    for (size_t i = 0; i < count; i++)
        if (handlers[i]->shutdown != NULL)
            handlers[i]->shutdown();
}

const struct web_handler *route_find(const char *path) {
    for (size_t i = 0; i + 1 < count; i++) {
        size_t length = strlen(handlers[i]->prefix);
        if (length == 1)
            return handlers[i];
        if (strncmp(path, handlers[i]->prefix, length) == 0 && (path[length] == '/' || path[length] == '\0'))
            return handlers[i];
    }
    return handlers[count - 1];
}
