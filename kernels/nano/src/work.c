#include "nano/work.h"

static struct work *first, **last = &first;

void (*work_poller)(bool idle);

void work_schedule(struct work *work) {
    if (work->queued)
        return;
    work->queued = true;
    work->next = NULL;
    *last = work;
    last = &work->next;
}

void works_run(void) {
    if (work_poller)
        work_poller(false);
    /* What schedules itself again runs in the next round: the program must get its turn. */
    struct work *work = first;
    first = NULL;
    last = &first;
    while (work) {
        struct work *next = work->next;
        work->queued = false;
        work->run(work);
        work = next;
    }
}

bool works_pending(void) {
    return first != NULL;
}
