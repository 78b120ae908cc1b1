/*
 * Times that system calls take.
 */
#ifndef NANO_SYS_TIME_H
#define NANO_SYS_TIME_H

#include "hal/base.h"

/* A struct timespec of the program in ns; HAL_FOREVER where it is too large. -EFAULT, -EINVAL (negative, or over a second's ns). */
int64_t time_from_user(uintptr_t from, uint64_t *ns);
/* The monotonic moment of a wall clock's moment. */
uint64_t realtime_deadline(uint64_t ns);

#endif
