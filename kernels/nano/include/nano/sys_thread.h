/*
 * What the calls of a program with one thread and those of the part `threads` share: sys_one_thread.c, sys_thread.c.
 */
#ifndef NANO_SYS_THREAD_H
#define NANO_SYS_THREAD_H

#include "nano/thread.h"

#define CLONE_THREAD 0x10000u

#define FUTEX_PRIVATE 128u
#define FUTEX_CLOCK_REALTIME 256u
#define FUTEX_OPERATION(word) ((unsigned)(word) & ~(FUTEX_PRIVATE | FUTEX_CLOCK_REALTIME))
enum { FUTEX_WAIT, FUTEX_WAKE, FUTEX_REQUEUE = 3, FUTEX_CMP_REQUEUE, FUTEX_WAKE_OP, FUTEX_WAIT_BITSET = 9, FUTEX_WAKE_BITSET };

/* Checks the address and the flags of futex(2)'s six arguments. `deadline`: of a wait, monotonic ns; HAL_FOREVER: none. */
int64_t futex_check(const uint64_t *a, uint64_t *deadline);

/* clone for another process: -ENOSYS, said once in the log. */
int64_t second_process(void);

#endif
