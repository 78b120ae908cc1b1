/*
 * The one program: its life from the settings to its exit status.
 */
#ifndef NANO_PROGRAM_H
#define NANO_PROGRAM_H

#include "hal/cpu.h"

#define PROGRAM_PID 2

/* Loads the program that the settings name and starts its first thread. Ends the machine with `fail` where it cannot. */
void program_start(void);
/* Ends the program and the machine: `exit STATUS` on the control channel. */
HAL_NORETURN void program_exit(int status);
/* Ends the program as killed by `signal`, with a report on the console that says why (a sentence without its end). */
HAL_NORETURN void program_killed(int signal, const char *format, ...) HAL_PRINTF(2, 3);
/* The kernel cannot run the program: `fail WHY` on the control channel and the console, the end. */
HAL_NORETURN void program_fail(const char *format, ...) HAL_PRINTF(1, 2);

/* Prints where the program is and who called. */
void program_backtrace(const struct hal_frame *frame);

#endif
