/*
 * A console device beside the platform's own UART: input and output of bytes.
 */
#ifndef HAL_CONSOLE_H
#define HAL_CONSOLE_H

#include "hal/base.h"

struct hal_console;

struct hal_console_ops {
    /* Writes bytes, and answers how many the device has taken; waits for it where it must, a bounded time. */
    size_t (*write)(struct hal_console *device, const char *text, size_t length);
};

/* Owned by its driver, which keeps it for ever; `input` and `next` are the kernel's and the list's. */
struct hal_console {
    const struct hal_console_ops *ops;
    const char *name;
    /* Set by the kernel; called in interrupt context with what arrived. NULL: input is dropped. */
    void (*input)(const char *text, size_t length);
    struct hal_console *next;
};

#endif
