/*
 * Time. Monotonic time counts nanoseconds from a moment during boot; wall time is monotonic time plus an offset.
 */
#ifndef HAL_CLOCK_H
#define HAL_CLOCK_H

#include "hal/base.h"

#define HAL_FOREVER UINT64_MAX

/* Nanoseconds since boot. Never goes back. */
uint64_t hal_clock_monotonic(void);
/* What to add to hal_clock_monotonic() to get nanoseconds since 1970-01-01 UTC, as the machine's clock had it at boot. */
int64_t hal_clock_wall_offset(void);

/*
 * How the program can compute monotonic time without a system call: ns = base_ns + ((tsc - base_tsc) * mult >> shift),
 * with a 128-bit product. False where the program cannot read such a counter.
 */
struct hal_clock_counter {
    uint64_t base_tsc;
    uint64_t base_ns;
    uint32_t mult;
    uint32_t shift;
};
bool hal_clock_counter(struct hal_clock_counter *counter);

/* Asks for one call of kernel_timer() at `deadline` (monotonic ns) or soon after; HAL_FOREVER: none. Replaces the last. */
void hal_timer_arm(uint64_t deadline);

#endif
