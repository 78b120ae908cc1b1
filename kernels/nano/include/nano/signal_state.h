/*
 * The inside of signals: for signal*.c and sys_signal*.c only.
 */
#ifndef NANO_SIGNAL_STATE_H
#define NANO_SIGNAL_STATE_H

#include "nano/signal.h"

#define SA_ONSTACK 0x08000000u
#define SA_RESTART 0x10000000u
#define SA_NODEFER 0x40000000u
#define SA_RESETHAND 0x80000000u
#define SIGNAL_BIT(n) (1ull << ((n)-1))
#define UNBLOCKABLE (SIGNAL_BIT(SIGKILL) | SIGNAL_BIT(SIGSTOP))

/* Linux's struct kernel_sigaction. */
struct signal_action {
    uintptr_t handler;
    uint64_t flags;
    uintptr_t restorer;
    uint64_t mask;
};

extern struct signal_action signal_actions[SIGNALS + 1];

/* Whether the signal, as its action is now, has no effect. */
bool signal_ignored(int signal);
/* What is pending for the current thread: sent to it or to the program. */
uint64_t signal_pending(void);
/*
 * Takes one signal that is pending for the current thread, its own before the program's, with what it says of its sender. A
 * real-time signal stays pending while more of it are queued.
 */
void signal_take(int signal, struct siginfo *info);
/*
 * Builds the handler's frame on the program's stack. False: the stack cannot be written to. NULL without the part
 * `signals`: then no action is ever a handler.
 */
typedef bool signal_enter_fn(struct hal_frame *frame, int signal, const struct signal_action *action, const struct siginfo *info);
extern signal_enter_fn *signal_enter_handler;

#endif
