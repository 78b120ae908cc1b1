/*
 * Work put off by interrupt handlers: runs soon after, before the program goes on and before the CPU idles, with
 * interrupts closed on whatever kernel stack is at hand. Must not block. Network polling and lwIP's input run here.
 */
#ifndef NANO_WORK_H
#define NANO_WORK_H

#include "hal/base.h"

struct work {
    void (*run)(struct work *work);
    struct work *next;
    bool queued;
};

/* Any context. Queued already: nothing happens. A running work may schedule itself again. */
void work_schedule(struct work *work);
void works_run(void);
bool works_pending(void);

/*
 * A device that is looked at without an interrupt while there is much to do: called each time before the program goes on
 * (`idle` false; cheap when there is nothing), and before the CPU idles (`idle` true; it may make threads ready or
 * schedule work, then the CPU does not idle). At most one; NULL: none.
 */
extern void (*work_poller)(bool idle);

#endif
