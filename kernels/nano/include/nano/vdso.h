/*
 * The vDSO: time without system calls.
 */
#ifndef NANO_VDSO_H
#define NANO_VDSO_H

#include "hal/base.h"

/* Maps it and its page of data into the program; process.vdso says where. */
void vdso_map(void);

/* After the wall clock was set. */
void vdso_update(void);

#endif
