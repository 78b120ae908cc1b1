#include "nano/wait.h"

#include "nano/errno.h"
#include "nano/thread.h"

void waitq_wake(struct waitq *queue, unsigned events) {
    /* A waiter may remove itself, and only itself, when it is woken. */
    for (struct list *at = queue->waiters.next, *next; at != &queue->waiters; at = next) {
        next = at->next;
        struct waiter *waiter = CONTAINER(at, struct waiter, link);
        waiter->wake(waiter, events);
    }
}

static void wake_thread(struct waiter *waiter, unsigned events) {
    if (events & WAIT_GONE)
        waitq_remove(waiter);
    thread_wake(CONTAINER(waiter, struct thread_waiter, waiter)->thread);
}

void thread_waiter_init(struct thread_waiter *waiter) {
    list_init(&waiter->waiter.link);
    waiter->waiter.wake = wake_thread;
    waiter->thread = current;
}

int wait_until(struct waitq *queue, bool (*ready)(void *), void *context, uint64_t deadline) {
    struct thread_waiter waiter;
    thread_waiter_init(&waiter);
    waitq_add(queue, &waiter.waiter);
    int status = 0;
    while (!ready(context)) {
        status = thread_block(deadline, true);
        if (status != 0) {
            if (ready(context))
                status = 0;
            break;
        }
    }
    waitq_remove(&waiter.waiter);
    return status;
}
