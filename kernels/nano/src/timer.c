#include "nano/timer.h"

#include "hal/clock.h"
#include "hal/kernel.h"

/* Ascending by deadline. A list serves: there are as many timers as sleeping threads and a few of the network's. */
static struct list timers = LIST_INIT(timers);
static uint64_t armed = HAL_FOREVER; /* what the hardware was asked for; never later than the first timer's deadline */

void timer_init(struct timer *timer, void (*expired)(struct timer *)) {
    list_init(&timer->link);
    timer->expired = expired;
}

void timer_arm(struct timer *timer, uint64_t deadline) {
    list_remove(&timer->link);
    timer->deadline = deadline;
    struct list *at = timers.prev;
    while (at != &timers && CONTAINER(at, struct timer, link)->deadline > deadline)
        at = at->prev;
    list_insert_before(at->next, &timer->link);
    if (deadline < armed) {
        armed = deadline;
        hal_timer_arm(deadline);
    }
}

/* The hardware is left as it is: one interrupt too many costs less than telling it each time. */
void timer_cancel(struct timer *timer) {
    list_remove(&timer->link);
}

bool timer_armed(const struct timer *timer) {
    return !list_empty(&timer->link);
}

void timers_run(void) {
    if (list_empty(&timers))
        return;
    uint64_t now = hal_clock_monotonic();
    while (!list_empty(&timers)) {
        struct timer *timer = CONTAINER(timers.next, struct timer, link);
        if (timer->deadline > now)
            break;
        list_remove(&timer->link);
        timer->expired(timer);
    }
}

void kernel_timer(void) {
    armed = HAL_FOREVER;
    timers_run();
    if (!list_empty(&timers)) {
        uint64_t next = CONTAINER(timers.next, struct timer, link)->deadline;
        if (next < armed) {
            armed = next;
            hal_timer_arm(next);
        }
    }
}

uint64_t deadline_after(uint64_t nanoseconds) {
    uint64_t now = hal_clock_monotonic();
    return nanoseconds > HAL_FOREVER - now ? HAL_FOREVER : now + nanoseconds;
}
