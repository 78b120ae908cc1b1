#include "hal/driver.h"

#include "hal/log.h"
#include "hal/string.h"

extern const struct hal_driver *const hal_drivers_begin[], *const hal_drivers_end[];

static struct hal_blk *blks;
static struct hal_net *nets;
static struct hal_console *consoles;
static struct hal_entropy *entropies;

void hal_drivers_start(void) {
    for (unsigned order = 0; order < 2; order++)
        for (const struct hal_driver *const *row = hal_drivers_begin; row < hal_drivers_end; row++)
            if ((*row)->order == order)
                (*row)->start();
}

void hal_drivers_forget(void) {
    blks = NULL;
    nets = NULL;
    consoles = NULL;
    entropies = NULL;
}

void hal_blk_register(struct hal_blk *device) {
    struct hal_blk **end = &blks;
    while (*end)
        end = &(*end)->next;
    *end = device;
}

void hal_net_register(struct hal_net *device) {
    struct hal_net **end = &nets;
    while (*end)
        end = &(*end)->next;
    *end = device;
}

void hal_console_register(struct hal_console *device) {
    struct hal_console **end = &consoles;
    while (*end)
        end = &(*end)->next;
    *end = device;
}

void hal_entropy_register(struct hal_entropy *device) {
    struct hal_entropy **end = &entropies;
    while (*end)
        end = &(*end)->next;
    *end = device;
}

struct hal_blk *hal_blk_first(void) {
    return blks;
}

struct hal_net *hal_net_first(void) {
    return nets;
}

struct hal_console *hal_console_first(void) {
    return consoles;
}

struct hal_entropy *hal_entropy_first(void) {
    return entropies;
}

void hal_driver_log(const char *name, const char *format, ...) {
    char line[256];
    size_t length = hal_format(line, sizeof line, "%s: ", name);
    va_list arguments;
    va_start(arguments, format);
    length += hal_vformat(line + length, sizeof line - length, format, arguments);
    va_end(arguments);
    if (length > sizeof line - 2)
        length = sizeof line - 2;
    line[length++] = '\n';
    hal_log(line, length);
}
