/*
 * The kernel's messages on the console.
 */
#ifndef NANO_PRINT_H
#define NANO_PRINT_H

#include "hal/base.h"

/* Writes one message; the format is that of hal_format(). A newline is part of the message. */
void kprintf(const char *format, ...) HAL_PRINTF(1, 2);

#endif
