/*
 * What belongs to the program as a whole.
 */
#ifndef NANO_PROCESS_H
#define NANO_PROCESS_H

#include "hal/base.h"

struct node;

struct process {
    struct node *directory;  /* the current one */
    struct node *executable; /* /proc/self/exe */
    uintptr_t bias; /* from the addresses in its file to those in memory */
    uint32_t umask;
    int64_t clock_offset; /* ns, by the setting `clock` */
    char hostname[65];
    char name[16];
    unsigned threads; /* alive */
    bool ending; /* its files are being closed, and none may wait for its peer */
    uintptr_t arguments, arguments_end, environment_end; /* strings on the first stack */
    uintptr_t vdso;
    uint64_t started; /* monotonic ns */
};

extern struct process process;

#endif
