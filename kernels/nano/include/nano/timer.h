/*
 * Timers of the kernel.
 */
#ifndef NANO_TIMER_H
#define NANO_TIMER_H

#include "nano/list.h"

/* Owned by who arms it. `expired` runs in interrupt context or on the way back to the program; must not block. */
struct timer {
    struct list link;
    uint64_t deadline; /* monotonic ns */
    void (*expired)(struct timer *timer);
};

void timer_init(struct timer *timer, void (*expired)(struct timer *timer));
void timer_arm(struct timer *timer, uint64_t deadline); /* armed already: moves it */
void timer_cancel(struct timer *timer);
bool timer_armed(const struct timer *timer);
/* Runs what is due. Called by the scheduler. */
void timers_run(void);

/* Monotonic ns from now on, saturating at HAL_FOREVER. */
uint64_t deadline_after(uint64_t nanoseconds);

#endif
