/*
 * The HAL as an ordinary Linux process: for tests, sanitizers and fuzzing. Time is virtual: it stands still but for
 * hal_idle(), which moves it to the next deadline. Randomness is seeded: the same seed and the same input give the same
 * run. The program's memory is a table of pages, with the rights and faults of the real one; nothing runs in ring 3.
 * Registers of devices are memory that keeps what was written; what hal_mmio_map() gives for an address is the same memory
 * each time, until the next host_start(). Disks are in host_disk.h, network devices in host_net.h.
 *
 * One machine at a time. The clock goes on, and the kernel's own variables stay, from one host_start() to the next.
 */
#ifndef HOST_H
#define HOST_H

#include <setjmp.h>

#include "hal/base.h"

/* Sets the machine up: `memory` bytes of RAM (a multiple of the page size), then the kernel's core. Once, or again for a fresh one. */
void host_start(size_t memory);
void host_set_initrd(const void *data, size_t size);   /* before vfs_init(); copied, page-aligned */
void host_set_settings(const void *data, size_t size); /* what fw_cfg would hold; not copied */
void host_set_command_line(const char *line);          /* not copied */
void host_forget_user(void); /* empties the program's page table */
void host_seed(uint64_t seed);
void host_advance(uint64_t nanoseconds);

/* Calls the handlers of an interrupt line (0 to HOST_LINES - 1), as the device's interrupt would. */
#define HOST_LINES 24
void host_interrupt(unsigned line);
/* Forgets registers and handlers. */
void host_forget_registers(void);

/* What hal_log() and hal_control_send() got, NUL-terminated; host_clear_output() empties both. */
const char *host_console(void);
const char *host_control(void);
unsigned host_exit_code(void); /* of the last hal_exit() */
void host_clear_output(void);

/*
 * Where hal_exit() and hal_panic() go on: `if (setjmp(host_end) == 0) ...`. 1: exit, 2: panic. Without it (host_catches
 * false) a panic aborts the process.
 */
extern jmp_buf host_end;
extern bool host_catches;
/* Called where every thread sleeps for ever; must wake one. NULL: that is an error. */
extern void (*host_stuck)(void);

/* Calls a system call by number, as the program would. */
int64_t host_syscall(uint64_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f);
/* Runs other threads until nobody is ready and no timer is armed before `until` (virtual ns). */
void host_run_until(uint64_t until);

#endif
