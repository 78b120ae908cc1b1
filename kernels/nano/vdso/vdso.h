/*
 * The page that the kernel shares with the vDSO's code, just below it.
 */
#ifndef NANO_VDSO_DATA_H
#define NANO_VDSO_DATA_H

#include <stdint.h>

/* `sequence` is odd while the kernel changes the rest. */
struct vdso_data {
    uint32_t sequence;
    uint32_t shift;
    uint32_t mult;
    uint32_t pad;
    uint64_t base_tsc, base_ns;
    int64_t wall_offset; /* ns from monotonic to wall time */
};

#endif
