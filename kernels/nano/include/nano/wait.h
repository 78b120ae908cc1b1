/*
 * Wait queues: who is to be told when something changes. A waiter is a thread that sleeps, or a function (epoll).
 *
 * Nothing is lost between a check and the sleep that follows: the kernel is not preempted and interrupts are closed.
 */
#ifndef NANO_WAIT_H
#define NANO_WAIT_H

#include "hal/clock.h"
#include "nano/list.h"

struct waitq {
    struct list waiters;
};
#define WAITQ_INIT(name) {LIST_INIT((name).waiters)}

#define WAIT_GONE (1u << 31) /* the queue's owner goes away: leave the queue and forget it */

struct waiter {
    struct list link;
    /* Any context, must not block. `events`: POLL* bits of what happened. May remove the waiter from the queue. */
    void (*wake)(struct waiter *waiter, unsigned events);
};

static inline void waitq_init(struct waitq *queue) {
    list_init(&queue->waiters);
}
static inline void waitq_add(struct waitq *queue, struct waiter *waiter) {
    list_push_back(&queue->waiters, &waiter->link);
}
static inline void waitq_remove(struct waiter *waiter) {
    list_remove(&waiter->link);
}
/* Tells every waiter, in the order in which they came. Any context. */
void waitq_wake(struct waitq *queue, unsigned events);

/* A waiter that wakes a thread. */
struct thread;
struct thread_waiter {
    struct waiter waiter;
    struct thread *thread;
};
void thread_waiter_init(struct thread_waiter *waiter); /* for the current thread */

/*
 * Sleeps until `ready(context)` is true, checked now and after each wake of the queue; or until `deadline` (monotonic
 * ns, HAL_FOREVER: none); or until a signal for the thread. 0, -ETIMEDOUT, -ERESTARTSYS. Thread context.
 */
int wait_until(struct waitq *queue, bool (*ready)(void *context), void *context, uint64_t deadline);

#endif
