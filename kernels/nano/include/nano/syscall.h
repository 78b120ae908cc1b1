/*
 * The table of system calls. Each source file adds its rows; the files that the plan's groups name are linked, so a call
 * that is not linked is ENOSYS, logged once with its name.
 */
#ifndef NANO_SYSCALL_H
#define NANO_SYSCALL_H

#include "hal/cpu.h"

/* `a`: the six arguments. Returns the result or a negative error number. Thread context; may block. */
typedef int64_t syscall_fn(const uint64_t *a);

struct syscall_row {
    syscall_fn *call;
    uint64_t number;
};

/* SYSCALL(0, read, sys_read, file): Linux's number and name, our function, the group (one of `calls` in kernel.yaml). */
#define SYSCALL(number, name, function, group) \
    static const struct syscall_row syscall_##name __attribute__((used, section(".rodata.syscalls"), aligned(8))) = {function, number}

/* The row of an optional part for a call that every kernel has in a lesser form: with the part, this one counts. */
#define SYSCALL_INSTEAD(number, name, function, group) \
    static const struct syscall_row syscall_##name __attribute__((used, section(".rodata.syscalls.instead"), aligned(8))) = {function, number}

void syscall_init(void);
/* What a call answers that is not linked: -ENOSYS, its first use said in the log with what would bring it. */
int64_t syscall_missing(uint64_t number);
/* The last calls: index 0 is the oldest that is remembered. False: there are not so many. */
struct past_call {
    uint16_t number, tid;
    int64_t result;
};
bool syscall_past(unsigned index, struct past_call *call);
/* The name that Linux gives to a number; NULL: none. */
const char *syscall_name(uint64_t number);
/* The optional part that the call is of, which is the word in `needs` that brings it; NULL: of none. */
const char *syscall_part(uint64_t number);

#endif
