#include "nano/signal_state.h"

#include "nano/errno.h"
#include "nano/heap.h"
#include "nano/print.h"
#include "nano/process.h"
#include "nano/program.h"
#include "nano/report.h"

struct siginfo_note {
    struct siginfo info;
    struct siginfo_note *next;
};

struct signal_action signal_actions[SIGNALS + 1];
signal_enter_fn *signal_enter_handler;
static uint64_t program_pending; /* for whichever thread takes them */
static struct siginfo_note *program_notes;

static bool default_ignores(int signal) {
    return signal == SIGCHLD || signal == SIGCONT || signal == SIGURG || signal == SIGWINCH || signal == SIGSTOP || signal == SIGTSTP ||
           signal == SIGTTIN || signal == SIGTTOU;
}

bool signal_ignored(int signal) {
    uintptr_t handler = signal_actions[signal].handler;
    return handler == 1 || (handler == 0 && default_ignores(signal));
}

bool signal_wanted(const struct thread *thread) {
    return thread->in_program && ((thread->pending | program_pending) & ~thread->blocked) != 0;
}

static void add_note(struct siginfo_note **notes, const struct siginfo *info) {
    struct siginfo_note *note = kmalloc(sizeof *note);
    if (!note)
        return; /* the signal itself is not lost, only what it says of its sender */
    note->info = *info;
    note->next = NULL;
    while (*notes)
        notes = &(*notes)->next;
    *notes = note;
}

/* Takes the note of a signal out; without one, a bare note. Keeps the pending bit if more are queued (real-time). */
static void take_note(struct siginfo_note **notes, uint64_t *pending, int signal, struct siginfo *info) {
    *info = (struct siginfo){.signo = signal};
    bool found = false, more = false;
    for (struct siginfo_note **at = notes; *at;) {
        struct siginfo_note *note = *at;
        if (note->info.signo == signal && !found) {
            *info = note->info;
            *at = note->next;
            kfree(note);
            found = true;
            continue;
        }
        more |= note->info.signo == signal;
        at = &note->next;
    }
    if (!more)
        *pending &= ~SIGNAL_BIT(signal);
}

uint64_t signal_pending(void) {
    return current->pending | program_pending;
}

void signal_take(int signal, struct siginfo *info) {
    bool own = current->pending & SIGNAL_BIT(signal);
    take_note(own ? &current->notes : &program_notes, own ? &current->pending : &program_pending, signal, info);
}

/* Whether any thread waits for the signal in sigtimedwait although its action is to ignore it: blocked counts. */
static bool blocked_somewhere(int signal) {
    for (struct list *at = threads.next; at != &threads; at = at->next) {
        struct thread *thread = CONTAINER(at, struct thread, link);
        if (thread->in_program && thread->blocked & SIGNAL_BIT(signal))
            return true;
    }
    return false;
}

void signal_send_thread(struct thread *thread, const struct siginfo *info) {
    uint64_t bit = SIGNAL_BIT(info->signo);
    if (signal_ignored(info->signo) && !(thread->blocked & bit))
        return;
    if (thread->pending & bit && info->signo < 32)
        return;
    thread->pending |= bit;
    add_note(&thread->notes, info);
    thread_wake(thread);
}

void signal_send_program(const struct siginfo *info) {
    uint64_t bit = SIGNAL_BIT(info->signo);
    if (signal_ignored(info->signo) && !blocked_somewhere(info->signo))
        return;
    if (program_pending & bit && info->signo < 32)
        return;
    program_pending |= bit;
    add_note(&program_notes, info);
    /* One thread that does not block it is enough; the first that gets to ring 3 takes it. */
    for (struct list *at = threads.next; at != &threads; at = at->next) {
        struct thread *thread = CONTAINER(at, struct thread, link);
        if (thread->in_program && !(thread->blocked & bit)) {
            thread_wake(thread);
            return;
        }
    }
    /* All block it; one may wait for it in sigtimedwait. */
    for (struct list *at = threads.next; at != &threads; at = at->next)
        if (CONTAINER(at, struct thread, link)->in_program)
            thread_wake(CONTAINER(at, struct thread, link));
}

void signal_raise(int signal) {
    struct siginfo info = {.signo = signal, .pid = PROGRAM_PID};
    signal_send_thread(current, &info);
}

void signal_thread_gone(struct thread *thread) {
    while (thread->notes) {
        struct siginfo_note *next = thread->notes->next;
        kfree(thread->notes);
        thread->notes = next;
    }
}

void signal_fault(struct hal_frame *frame, int signal, int code, uintptr_t address) {
    struct signal_action *action = &signal_actions[signal];
    uint64_t bit = SIGNAL_BIT(signal);
    if (action->handler <= 1 || current->blocked & bit) {
        static const char *const names[] = {[SIGILL] = "executed an invalid instruction", [SIGTRAP] = "met a breakpoint",
                                            [SIGBUS] = "used memory beyond the end of its file", [SIGFPE] = "divided by zero or computed what cannot be",
                                            [SIGSEGV] = "used memory that is not its own"};
        kprintf("nano: vector %lu error 0x%lx address 0x%lx\n", frame->vector, frame->error, address);
        report_program(kprintf, frame);
        report_calls(kprintf);
        program_killed(signal, "The program (thread %d) %s at address 0x%lx", current->tid,
                       signal <= SIGSEGV && names[signal] ? names[signal] : "failed", address);
    }
    struct siginfo info = {.signo = signal, .code = code, .address = address};
    current->pending |= bit;
    /* In front of others of its kind: it belongs to this instruction. */
    struct siginfo_note *note = kmalloc(sizeof *note);
    if (note) {
        note->info = info;
        note->next = current->notes;
        current->notes = note;
    }
}

void signal_mask_for_call(uint64_t blocked) {
    current->saved_blocked = current->blocked;
    current->restore_blocked = true;
    current->blocked = blocked & ~UNBLOCKABLE;
}

/* The result of an interrupted call: EINTR, or the call once more. */
static void finish_call(struct hal_frame *frame, bool handler, bool restart) {
    if (frame->vector != HAL_VECTOR_SYSCALL)
        return;
    int64_t result = (int64_t)frame->rax;
    if (result != -ERESTARTSYS && result != -ERESTARTNOHAND)
        return;
    if (handler && (result == -ERESTARTNOHAND || !restart)) {
        frame->rax = (uint64_t)-(int64_t)EINTR;
        return;
    }
    frame->rax = frame->error;
    frame->rip -= 2; /* the SYSCALL instruction */
}

static int next_signal(void) {
    uint64_t wanted = signal_pending() & ~current->blocked;
    /* What the program did itself comes before what others want of it. */
    uint64_t faults = SIGNAL_BIT(SIGSEGV) | SIGNAL_BIT(SIGBUS) | SIGNAL_BIT(SIGILL) | SIGNAL_BIT(SIGFPE) | SIGNAL_BIT(SIGTRAP) | SIGNAL_BIT(SIGSYS);
    if (wanted & faults)
        wanted &= faults;
    return wanted ? __builtin_ctzll(wanted) + 1 : 0;
}

void signal_deliver(struct hal_frame *frame) {
    int signal;
    while ((signal = next_signal()) != 0) {
        struct siginfo info;
        signal_take(signal, &info);
        struct signal_action action = signal_actions[signal];
        if (signal_ignored(signal))
            continue;
        if (action.handler == 0) {
            kprintf("nano: the program was ended by signal %d\n", signal);
            program_exit(128 + signal);
        }
        finish_call(frame, true, action.flags & SA_RESTART);
        if (action.flags & SA_RESETHAND)
            signal_actions[signal].handler = 0;
        if (!signal_enter_handler(frame, signal, &action, &info))
            program_killed(SIGSEGV, "The program has no room on its stack for the handler of signal %d", signal);
        if (current->restore_blocked)
            current->restore_blocked = false;
        current->blocked |= action.mask | (action.flags & SA_NODEFER ? 0 : SIGNAL_BIT(signal));
        current->blocked &= ~UNBLOCKABLE;
    }
    finish_call(frame, false, false);
    if (current->restore_blocked) {
        current->restore_blocked = false;
        current->blocked = current->saved_blocked;
        if (signal_wanted(current))
            signal_deliver(frame);
    }
}
