#include "nano/thread.h"

#include "hal/boot.h"
#include "hal/clock.h"
#include "hal/kernel.h"
#include "hal/memory.h"
#include "hal/string.h"
#include "nano/errno.h"
#include "nano/heap.h"
#include "nano/program.h"
#include "nano/signal.h"
#include "nano/work.h"

#define SLICE_NS 4000000u

struct thread *current;
struct list threads = LIST_INIT(threads);

static struct list ready = LIST_INIT(ready);
static struct thread boot_thread;
static struct thread *dead; /* its stack is still in use until another thread runs */
static struct timer slice;
static bool reschedule;
static int next_tid = PROGRAM_PID;

static void sleep_expired(struct timer *timer) {
    struct thread *thread = CONTAINER(timer, struct thread, sleep);
    thread->timed_out = true;
    thread_wake(thread);
}

static void slice_expired(struct timer *timer) {
    (void)timer;
    reschedule = true;
}

static void prepare(struct thread *thread, const char *name) {
    list_init(&thread->run);
    list_init(&thread->futex_link);
    timer_init(&thread->sleep, sleep_expired);
    hal_format(thread->name, sizeof thread->name, "%s", name);
    list_push_back(&threads, &thread->link);
}

void thread_init(void) {
    timer_init(&slice, slice_expired);
    prepare(&boot_thread, "boot");
    boot_thread.state = THREAD_RUNNING;
    current = &boot_thread;
}

static void thread_free(struct thread *thread) {
    hal_context_forget(&thread->context);
    hal_stack_destroy(thread->stack, THREAD_STACK_SIZE);
    kfree(thread->context.fpu);
    kfree(thread);
}

static struct thread *create(const char *name, void (*entry)(void *), void *argument) {
    struct thread *thread = kzalloc(sizeof *thread);
    void *stack = thread ? hal_stack_create(THREAD_STACK_SIZE) : NULL;
    if (!stack) {
        kfree(thread);
        return NULL;
    }
    thread->stack = stack;
    thread->state = THREAD_BLOCKED;
    hal_context_init(&thread->context, stack, THREAD_STACK_SIZE, entry, argument);
    prepare(thread, name);
    return thread;
}

struct thread *thread_create(const char *name, void (*entry)(void *), void *argument) {
    struct thread *thread = create(name, entry, argument);
    if (thread)
        thread_wake(thread);
    return thread;
}

static void reap(void) {
    if (dead && dead != current) {
        if (dead != &boot_thread)
            thread_free(dead);
        dead = NULL;
    }
}

/* The first moment of a program's thread: its frame lies at the top of its stack. */
static void enter_program(void *argument) {
    reap();
    kernel_return_to_user(argument);
    hal_user_enter(argument);
}

int thread_new_tid(void) {
    return next_tid++;
}

struct thread *thread_create_program(const struct hal_frame *frame, int tid) {
    struct thread *thread = create("", enter_program, NULL);
    if (!thread)
        return NULL;
    thread->context.fpu = kmalloc(hal_fpu_size());
    if (!thread->context.fpu) {
        list_remove(&thread->link);
        thread_free(thread);
        return NULL;
    }
    hal_fpu_init(thread->context.fpu);
    thread->context.user = true;
    thread->in_program = true;
    thread->tid = tid;
    struct hal_frame *top = (struct hal_frame *)((uintptr_t)thread->stack + THREAD_STACK_SIZE) - 1;
    *top = *frame;
    hal_context_init(&thread->context, thread->stack, THREAD_STACK_SIZE - sizeof *top, enter_program, top);
    thread->context.stack_top = (uintptr_t)thread->stack + THREAD_STACK_SIZE;
    return thread;
}

struct thread *thread_find(int tid) {
    for (struct list *at = threads.next; at != &threads; at = at->next) {
        struct thread *thread = CONTAINER(at, struct thread, link);
        if (thread->in_program && thread->tid == tid && thread->state != THREAD_DEAD)
            return thread;
    }
    return NULL;
}

void thread_wake(struct thread *thread) {
    if (thread->state != THREAD_BLOCKED)
        return;
    thread->state = THREAD_READY;
    list_push_back(&ready, &thread->run);
    reschedule = true;
}

/* Gives the CPU to the next ready thread; waits for one where there is none. The current thread's state says why. */
static void schedule(void) {
    struct thread *previous = current;
    for (;;) {
        works_run();
        if (!list_empty(&ready))
            break;
        if (!works_pending() && work_poller)
            work_poller(true);
        if (works_pending() || !list_empty(&ready))
            continue;
        hal_idle();
    }
    struct thread *next = CONTAINER(ready.next, struct thread, run);
    list_remove(&next->run);
    next->state = THREAD_RUNNING;
    reschedule = false;
    if (!list_empty(&ready) && next->in_program)
        timer_arm(&slice, deadline_after(SLICE_NS));
    if (next == previous)
        return;
    uint64_t now = hal_clock_monotonic();
    previous->cpu_ns += now - previous->switched_in_ns;
    next->switched_in_ns = now;
    current = next;
    hal_context_switch(&previous->context, &next->context);
    reap();
}

void thread_yield(void) {
    current->state = THREAD_READY;
    list_push_back(&ready, &current->run);
    schedule();
}

int thread_block(uint64_t deadline, bool interruptible) {
    if (interruptible && signal_wanted(current))
        return -ERESTARTSYS;
    current->timed_out = false;
    if (deadline != HAL_FOREVER) {
        if (deadline <= hal_clock_monotonic())
            return -ETIMEDOUT;
        timer_arm(&current->sleep, deadline);
    }
    current->state = THREAD_BLOCKED;
    schedule();
    timer_cancel(&current->sleep);
    if (interruptible && signal_wanted(current))
        return -ERESTARTSYS;
    return current->timed_out ? -ETIMEDOUT : 0;
}

HAL_NORETURN void thread_exit(void) {
    reap();
    timer_cancel(&current->sleep);
    list_remove(&current->link);
    current->state = THREAD_DEAD;
    dead = current;
    schedule();
    hal_panic("A dead thread ran on.");
}

void kernel_return_to_user(struct hal_frame *frame) {
    works_run();
    if (reschedule) {
        reschedule = false;
        if (!list_empty(&ready)) {
            /* A thread that computes goes behind those that were woken; a slice ends it if they do not sleep again. */
            thread_yield();
        }
    }
    signal_deliver(frame);
}
