/*
 * What is said of a crash. Nothing here blocks where the program is in memory, and nothing faults.
 */
#ifndef NANO_REPORT_H
#define NANO_REPORT_H

#include "hal/cpu.h"
#include "hal/kernel.h"

typedef void report_print(const char *format, ...);

/* The program's registers, where it is, who called: by frame pointers, else what on its stack looks like a call. */
void report_program(report_print *print, const struct hal_frame *frame);
/* The last system calls with their results, the oldest first. */
void report_calls(report_print *print);

#endif
