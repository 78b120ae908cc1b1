/*
 * The one program: its life from the settings to its exit status.
 */
#ifndef NANO_PROGRAM_H
#define NANO_PROGRAM_H

#include "hal/boot.h"
#include "hal/cpu.h"

#define PROGRAM_PID 2

/* Why the kernel ended the machine: the code that hal_exit() gets. Table of all ends: docs/nano.md. */
enum program_failure {
    FAIL_MEMORY = HAL_EXIT_KERNEL, /* too little for what must be there, or the program used it up */
    FAIL_ARCHIVE,                  /* the archive with the root filesystem is damaged */
    FAIL_SETTINGS,                 /* a setting is malformed or unknown */
    FAIL_ROOT_DISK,                /* the disk with the root filesystem is not there or damaged */
    FAIL_PROGRAM,                  /* the program is not there or cannot be run */
    FAIL_RANDOMNESS,               /* no source of it */
    FAIL_NETWORK,                  /* the network cannot be set up */
    FAIL_DEVICE,                   /* a device is gone, or cannot be believed, while the program ran */
};

/* The control channel's line before the program runs; a part that tells more of it later says so here. */
extern const char *program_start_line;

/* Loads the program that the settings name and starts its first thread. Ends the machine with `fail` where it cannot. */
void program_start(void);
/* Ends the program and the machine: `exit STATUS` on the control channel. */
HAL_LANDMARK HAL_NORETURN void program_exit(int status);
/* Ends the program as killed by `signal`, with a report on the console that says why (a sentence without its end). */
HAL_NORETURN void program_killed(int signal, const char *format, ...) HAL_PRINTF(2, 3);
/* As program_killed() by SIGKILL, because memory is used up. */
HAL_NORETURN void program_out_of_memory(void);
/* The kernel cannot run the program: `fail WHY` on the control channel and the console, the end. */
HAL_NORETURN void program_fail(enum program_failure code, const char *format, ...) HAL_PRINTF(2, 3);
/*
 * A device that the program needs is gone for good; a whole sentence says which. The program is asked to end (SIGTERM);
 * when it has ended, at the latest after 10 s, the machine ends with `fail` and this sentence. Only the first one counts.
 * May be called in any context.
 */
void program_device_lost(const char *format, ...) HAL_PRINTF(1, 2);

#endif
