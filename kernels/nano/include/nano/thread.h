/*
 * Threads, of the kernel and of the program, and the scheduler: round robin, one CPU. The kernel is not preempted: a
 * thread gives the CPU up where it blocks, or on its way back to ring 3.
 */
#ifndef NANO_THREAD_H
#define NANO_THREAD_H

#include "hal/cpu.h"
#include "nano/list.h"
#include "nano/timer.h"
#include "nano/wait.h"

#define THREAD_STACK_SIZE (4 * (size_t)4096)

enum thread_state { THREAD_READY, THREAD_RUNNING, THREAD_BLOCKED, THREAD_DEAD };

struct thread {
    struct list run;  /* in the ready queue */
    struct list link; /* in all threads */
    enum thread_state state;
    bool in_program; /* a thread of the program: has an FPU area and may enter ring 3 */
    bool timed_out;  /* the last sleep ended by its deadline */
    int tid;
    char name[16];
    struct hal_context context;
    void *stack;
    struct timer sleep;
    uint64_t cpu_ns, switched_in_ns;

    /* The program's view (signal.c, futex.c). */
    struct hal_frame *frame; /* of the system call or trap being handled */
    uint64_t pending, blocked, saved_blocked; /* signal sets; bit n-1 for signal n */
    bool restore_blocked; /* put saved_blocked back after the next signal (sigsuspend, ppoll) */
    struct siginfo_note *notes; /* queued siginfo of pending signals */
    uintptr_t alt_stack, alt_stack_size;
    unsigned alt_stack_flags;
    uintptr_t clear_tid;
    uintptr_t robust_list;
    struct list futex_link;
    uintptr_t futex_address;
    uint32_t futex_bitset;
    bool futex_woken;
    uint64_t syscall_number;
};

extern struct thread *current;

void thread_init(void); /* makes the boot stack a thread */
/* A kernel thread; ready at once. NULL: no memory. */
struct thread *thread_create(const char *name, void (*entry)(void *), void *argument);
/* A number that no thread of the program has had. */
int thread_new_tid(void);
/* A thread of the program with the given registers, not yet ready; a signal may make it so. NULL: no memory. */
struct thread *thread_create_program(const struct hal_frame *frame, int tid);
HAL_NORETURN void thread_exit(void);

/* Makes a blocked thread ready. Any context; nothing happens if it is not blocked. */
void thread_wake(struct thread *thread);
/*
 * Blocks the current thread until thread_wake(), the deadline, or (only `interruptible`) a signal that is pending and not
 * blocked. 0, -ETIMEDOUT, -ERESTARTSYS. Wakes without cause are possible: check and block again.
 */
int thread_block(uint64_t deadline, bool interruptible);
void thread_yield(void);

/* All threads, linked by `link`. */
extern struct list threads;
struct thread *thread_find(int tid);

/* Whether a signal wants to be handled by this thread (signal.c). */
bool signal_wanted(const struct thread *thread);

#endif
