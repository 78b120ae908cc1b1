#include "nano/signal.h"

#include "hal/memory.h"
#include "hal/string.h"
#include "nano/errno.h"
#include "nano/heap.h"
#include "nano/print.h"
#include "nano/process.h"
#include "nano/program.h"
#include "nano/sys_time.h"
#include "nano/syscall.h"
#include "nano/user.h"

#define SA_SIGINFO 4u
#define SA_RESTORER 0x04000000u
#define SA_ONSTACK 0x08000000u
#define SA_RESTART 0x10000000u
#define SA_NODEFER 0x40000000u
#define SA_RESETHAND 0x80000000u
#define SS_ONSTACK 1u
#define SS_DISABLE 2u
#define UC_FP_XSTATE 1
#define UC_SIGCONTEXT_SS 2
#define UC_STRICT_RESTORE_SS 4
#define FP_XSTATE_MAGIC1 0x46505853u
#define FP_XSTATE_MAGIC2 0x46505845u
#define RED_ZONE 128
#define SIGNAL_BIT(n) (1ull << ((n)-1))
#define UNBLOCKABLE (SIGNAL_BIT(SIGKILL) | SIGNAL_BIT(SIGSTOP))

/* Linux's struct kernel_sigaction. */
struct action {
    uintptr_t handler;
    uint64_t flags;
    uintptr_t restorer;
    uint64_t mask;
};

struct siginfo_note {
    struct siginfo info;
    struct siginfo_note *next;
};

static struct action actions[SIGNALS + 1];
static uint64_t program_pending; /* for whichever thread takes them */
static struct siginfo_note *program_notes;

static bool default_ignores(int signal) {
    return signal == SIGCHLD || signal == SIGCONT || signal == SIGURG || signal == SIGWINCH || signal == SIGSTOP || signal == SIGTSTP ||
           signal == SIGTTIN || signal == SIGTTOU;
}

static bool ignored(int signal) {
    uintptr_t handler = actions[signal].handler;
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
    if (ignored(info->signo) && !(thread->blocked & bit))
        return;
    if (thread->pending & bit && info->signo < 32)
        return;
    thread->pending |= bit;
    add_note(&thread->notes, info);
    thread_wake(thread);
}

void signal_send_program(const struct siginfo *info) {
    uint64_t bit = SIGNAL_BIT(info->signo);
    if (ignored(info->signo) && !blocked_somewhere(info->signo))
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
    struct action *action = &actions[signal];
    uint64_t bit = SIGNAL_BIT(signal);
    if (action->handler <= 1 || current->blocked & bit) {
        static const char *const names[] = {[SIGILL] = "executed an invalid instruction", [SIGTRAP] = "met a breakpoint",
                                            [SIGBUS] = "used memory beyond the end of its file", [SIGFPE] = "divided by zero or computed what cannot be",
                                            [SIGSEGV] = "used memory that is not its own"};
        kprintf("nano: rip %016lx rsp %016lx rbp %016lx address %016lx rax %016lx rdi %016lx rsi %016lx vector %lu error 0x%lx\n", frame->rip,
                frame->rsp, frame->rbp, address, frame->rax, frame->arg[0], frame->arg[1], frame->vector, frame->error);
        program_backtrace(frame);
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

/* Linux's struct sigcontext, ucontext and rt_sigframe of x86-64 (arch/x86/include/uapi/asm/sigcontext.h, ucontext.h). */
struct signal_frame {
    uint64_t return_address;
    uint64_t flags, link;
    struct {
        uint64_t pointer;
        uint32_t flags, pad;
        uint64_t size;
    } stack;
    uint64_t r8, r9, r10, r11, r12, r13, r14, r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, rflags;
    uint16_t cs, gs, fs, ss;
    uint64_t error, trap, old_mask, address, fpu;
    uint64_t reserved[8];
    uint64_t mask;
    struct siginfo info;
};

static bool on_alt_stack(uintptr_t rsp) {
    return !(current->alt_stack_flags & SS_DISABLE) && current->alt_stack_size && rsp > current->alt_stack &&
           rsp <= current->alt_stack + current->alt_stack_size;
}

/* Builds the handler's frame on the program's stack. False: the stack cannot be written to. */
static bool enter_handler(struct hal_frame *frame, int signal, const struct action *action, const struct siginfo *info) {
    uintptr_t sp = frame->rsp - RED_ZONE;
    if (action->flags & SA_ONSTACK && current->alt_stack_size && !(current->alt_stack_flags & SS_DISABLE) && !on_alt_stack(frame->rsp))
        sp = current->alt_stack + current->alt_stack_size;
    size_t fpu_size = hal_fpu_size();
    sp = (sp - fpu_size - 4) & ~(uintptr_t)63;
    uintptr_t fpu = sp;
    sp = ((sp - sizeof(struct signal_frame)) & ~(uintptr_t)15) - 8;
    struct signal_frame out;
    memset(&out, 0, sizeof out);
    out.return_address = action->restorer;
    out.flags = UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS | (fpu_size > 512 ? UC_FP_XSTATE : 0);
    out.stack.pointer = current->alt_stack;
    out.stack.flags = current->alt_stack_size ? current->alt_stack_flags | (on_alt_stack(frame->rsp) ? SS_ONSTACK : 0) : SS_DISABLE;
    out.stack.size = current->alt_stack_size;
    out.r8 = frame->arg[4];
    out.r9 = frame->arg[5];
    out.r10 = frame->arg[3];
    out.r11 = frame->r11;
    out.r12 = frame->r12;
    out.r13 = frame->r13;
    out.r14 = frame->r14;
    out.r15 = frame->r15;
    out.rdi = frame->arg[0];
    out.rsi = frame->arg[1];
    out.rbp = frame->rbp;
    out.rbx = frame->rbx;
    out.rdx = frame->arg[2];
    out.rax = frame->rax;
    out.rcx = frame->rcx;
    out.rsp = frame->rsp;
    out.rip = frame->rip;
    out.rflags = frame->rflags;
    out.cs = 0x33; /* what Linux shows; the real selectors are never taken from here */
    out.ss = 0x2b;
    out.error = frame->vector < 32 ? frame->error : 0;
    out.trap = frame->vector < 32 ? frame->vector : 0;
    out.address = frame->vector == 14 ? info->address : 0;
    out.fpu = fpu;
    out.mask = current->restore_blocked ? current->saved_blocked : current->blocked;
    out.info = *info;
    hal_context_sync(&current->context);
    /* The software-reserved bytes of the FXSAVE area say how large it is (struct _fpx_sw_bytes). */
    struct {
        uint32_t magic, size;
        uint64_t features;
        uint32_t state_size, pad[7];
    } software = {FP_XSTATE_MAGIC1, (uint32_t)fpu_size + 4, 7, (uint32_t)fpu_size, {0}};
    uint32_t magic2 = FP_XSTATE_MAGIC2;
    if (fpu_size > 512)
        memcpy((uint8_t *)current->context.fpu + 464, &software, sizeof software);
    if (copy_to_user(fpu, current->context.fpu, fpu_size) != 0 || copy_to_user(fpu + fpu_size, &magic2, sizeof magic2) != 0 ||
        copy_to_user(sp, &out, sizeof out) != 0)
        return false;
    frame->rsp = sp;
    frame->rip = action->handler;
    frame->arg[0] = (uint64_t)signal;
    frame->arg[1] = sp + offsetof(struct signal_frame, info);
    frame->arg[2] = sp + offsetof(struct signal_frame, flags);
    frame->rax = 0;
    frame->rflags &= ~(uint64_t)0x500; /* DF and TF */
    hal_frame_sanitize(frame);
    return true;
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
    uint64_t wanted = (current->pending | program_pending) & ~current->blocked;
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
        bool own = current->pending & SIGNAL_BIT(signal);
        take_note(own ? &current->notes : &program_notes, own ? &current->pending : &program_pending, signal, &info);
        struct action action = actions[signal];
        if (ignored(signal))
            continue;
        if (action.handler == 0) {
            kprintf("nano: the program was ended by signal %d\n", signal);
            program_exit(128 + signal);
        }
        finish_call(frame, true, action.flags & SA_RESTART);
        if (action.flags & SA_RESETHAND)
            actions[signal].handler = 0;
        if (!enter_handler(frame, signal, &action, &info))
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

static int64_t sys_rt_sigreturn(const uint64_t *a) {
    (void)a;
    struct hal_frame *frame = current->frame;
    struct signal_frame in;
    /* The handler's RET took the return address. */
    uintptr_t sp = frame->rsp - 8;
    if (copy_from_user(&in, sp, sizeof in) != 0)
        program_killed(SIGSEGV, "The program returned from a signal handler with a damaged stack");
    if (in.fpu) {
        hal_context_sync(&current->context);
        void *area = kmalloc(hal_fpu_size());
        if (!area || copy_from_user(area, in.fpu, hal_fpu_size()) != 0 || !hal_fpu_sanitize(area))
            program_killed(SIGSEGV, "The program returned from a signal handler with damaged floating point state");
        memcpy(current->context.fpu, area, hal_fpu_size());
        kfree(area);
        hal_context_reload(&current->context);
    }
    frame->arg[4] = in.r8;
    frame->arg[5] = in.r9;
    frame->arg[3] = in.r10;
    frame->r11 = in.r11;
    frame->r12 = in.r12;
    frame->r13 = in.r13;
    frame->r14 = in.r14;
    frame->r15 = in.r15;
    frame->arg[0] = in.rdi;
    frame->arg[1] = in.rsi;
    frame->rbp = in.rbp;
    frame->rbx = in.rbx;
    frame->arg[2] = in.rdx;
    frame->rcx = in.rcx;
    frame->rsp = in.rsp;
    frame->rip = in.rip;
    frame->rflags = in.rflags;
    hal_frame_sanitize(frame);
    current->blocked = in.mask & ~UNBLOCKABLE;
    return (int64_t)in.rax;
}
SYSCALL(15, rt_sigreturn, sys_rt_sigreturn, signal);

static int64_t sys_rt_sigaction(const uint64_t *a) {
    struct action new;
    int signal = (int)a[0];
    if (a[3] != 8 || signal < 1 || signal > SIGNALS || (a[1] && (signal == SIGKILL || signal == SIGSTOP)))
        return -EINVAL;
    if (a[1] && copy_from_user(&new, a[1], sizeof new) != 0)
        return -EFAULT;
    if (a[2] && copy_to_user(a[2], &actions[signal], sizeof new) != 0)
        return -EFAULT;
    if (a[1]) {
        new.mask &= ~UNBLOCKABLE;
        actions[signal] = new;
        if (ignored(signal)) {
            struct siginfo dropped;
            while (program_pending & SIGNAL_BIT(signal))
                take_note(&program_notes, &program_pending, signal, &dropped);
            while (current->pending & SIGNAL_BIT(signal))
                take_note(&current->notes, &current->pending, signal, &dropped);
        }
    }
    return 0;
}
SYSCALL(13, rt_sigaction, sys_rt_sigaction, signal);

static int64_t sys_rt_sigprocmask(const uint64_t *a) {
    uint64_t set, old = current->blocked;
    if (a[3] != 8)
        return -EINVAL;
    if (a[1]) {
        if (copy_from_user(&set, a[1], sizeof set) != 0)
            return -EFAULT;
        set &= ~UNBLOCKABLE;
        switch ((unsigned)a[0]) {
        case 0:
            current->blocked |= set;
            break;
        case 1:
            current->blocked &= ~set;
            break;
        case 2:
            current->blocked = set;
            break;
        default:
            return -EINVAL;
        }
    }
    return a[2] ? copy_to_user(a[2], &old, sizeof old) : 0;
}
SYSCALL(14, rt_sigprocmask, sys_rt_sigprocmask, signal);

static int64_t sys_rt_sigpending(const uint64_t *a) {
    uint64_t set = (current->pending | program_pending) & current->blocked;
    return a[1] > 8 ? -EINVAL : copy_to_user(a[0], &set, a[1]);
}
SYSCALL(127, rt_sigpending, sys_rt_sigpending, signal);

static int64_t sys_rt_sigsuspend(const uint64_t *a) {
    uint64_t set;
    if (a[1] != 8)
        return -EINVAL;
    if (copy_from_user(&set, a[0], sizeof set) != 0)
        return -EFAULT;
    signal_mask_for_call(set);
    while (thread_block(HAL_FOREVER, true) == 0)
        ;
    return -ERESTARTNOHAND;
}
SYSCALL(130, rt_sigsuspend, sys_rt_sigsuspend, signal);

static int64_t sys_pause(const uint64_t *a) {
    (void)a;
    while (thread_block(HAL_FOREVER, true) == 0)
        ;
    return -ERESTARTNOHAND;
}
SYSCALL(34, pause, sys_pause, signal);


static int64_t sys_rt_sigtimedwait(const uint64_t *a) {
    uint64_t set, ns = 0, deadline = HAL_FOREVER;
    if (a[3] != 8)
        return -EINVAL;
    if (copy_from_user(&set, a[0], sizeof set) != 0)
        return -EFAULT;
    set &= ~UNBLOCKABLE;
    if (a[2]) {
        int64_t status = time_from_user(a[2], &ns);
        if (status != 0)
            return status;
        deadline = deadline_after(ns);
    }
    for (;;) {
        uint64_t there = (current->pending | program_pending) & set;
        if (there) {
            struct siginfo info;
            int signal = __builtin_ctzll(there) + 1;
            bool own = current->pending & SIGNAL_BIT(signal);
            take_note(own ? &current->notes : &program_notes, own ? &current->pending : &program_pending, signal, &info);
            return a[1] && copy_to_user(a[1], &info, sizeof info) != 0 ? -EFAULT : signal;
        }
        int status = thread_block(deadline, true);
        if (status == -ETIMEDOUT)
            return -EAGAIN;
        if (status != 0 && !((current->pending | program_pending) & set))
            return -EINTR;
    }
}
SYSCALL(128, rt_sigtimedwait, sys_rt_sigtimedwait, signal);

static int64_t sys_sigaltstack(const uint64_t *a) {
    struct {
        uint64_t pointer;
        uint32_t flags, pad;
        uint64_t size;
    } new, old = {current->alt_stack, current->alt_stack_size ? current->alt_stack_flags : SS_DISABLE, 0, current->alt_stack_size};
    bool on_it = on_alt_stack(current->frame->rsp);
    if (a[0] && copy_from_user(&new, a[0], sizeof new) != 0)
        return -EFAULT;
    if (on_it)
        old.flags |= SS_ONSTACK;
    if (a[0]) {
        if (on_it)
            return -EPERM;
        if (new.flags & ~(SS_DISABLE | SS_ONSTACK | 0x80000000u))
            return -EINVAL;
        if (!(new.flags & SS_DISABLE) && new.size < 2048)
            return -ENOMEM;
        current->alt_stack = new.flags & SS_DISABLE ? 0 : new.pointer;
        current->alt_stack_size = new.flags & SS_DISABLE ? 0 : new.size;
        current->alt_stack_flags = new.flags & SS_DISABLE;
    }
    return a[1] ? copy_to_user(a[1], &old, sizeof old) : 0;
}
SYSCALL(131, sigaltstack, sys_sigaltstack, signal);

static int64_t sys_kill(const uint64_t *a) {
    int pid = (int)a[0], signal = (int)a[1];
    if (signal < 0 || signal > SIGNALS)
        return -EINVAL;
    if (pid == -1 || (pid != 0 && pid != PROGRAM_PID && pid != -PROGRAM_PID))
        return -ESRCH;
    struct siginfo info = {.signo = signal, .pid = PROGRAM_PID};
    if (signal)
        signal_send_program(&info);
    return 0;
}
SYSCALL(62, kill, sys_kill, signal);

static int64_t send_to(int tid, int signal) {
    if (tid <= 0 || signal < 0 || signal > SIGNALS)
        return -EINVAL;
    struct thread *thread = thread_find(tid);
    if (!thread)
        return -ESRCH;
    struct siginfo info = {.signo = signal, .code = -6, .pid = PROGRAM_PID}; /* SI_TKILL */
    if (signal)
        signal_send_thread(thread, &info);
    return 0;
}
static int64_t sys_tkill(const uint64_t *a) {
    return send_to((int)a[0], (int)a[1]);
}
SYSCALL(200, tkill, sys_tkill, signal);
static int64_t sys_tgkill(const uint64_t *a) {
    if ((int)a[0] <= 0)
        return -EINVAL;
    return (int)a[0] != PROGRAM_PID ? -ESRCH : send_to((int)a[1], (int)a[2]);
}
SYSCALL(234, tgkill, sys_tgkill, signal);
