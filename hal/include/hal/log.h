/*
 * The console before and beside any driver: what the kernel and the program's standard output say.
 */
#ifndef HAL_LOG_H
#define HAL_LOG_H

#include "hal/base.h"

/* Writes bytes to the console as they are. Does not block for longer than the UART needs. */
void hal_log(const char *text, size_t length);

#endif
