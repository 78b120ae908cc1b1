/*
 * Signals that the program does not catch: sent, blocked, ignored. Group `process`.
 */
#include "nano/errno.h"
#include "nano/process.h"
#include "nano/program.h"
#include "nano/signal_state.h"
#include "nano/syscall.h"
#include "nano/user.h"

static int64_t sys_rt_sigaction(const uint64_t *a) {
    struct signal_action new;
    int signal = (int)a[0];
    if (a[3] != 8 || signal < 1 || signal > SIGNALS || (a[1] && (signal == SIGKILL || signal == SIGSTOP)))
        return -EINVAL;
    if (a[1] && copy_from_user(&new, a[1], sizeof new) != 0)
        return -EFAULT;
    if (a[1] && new.handler > 1 && !signal_enter_handler)
        return syscall_missing(13);
    if (a[2] && copy_to_user(a[2], &signal_actions[signal], sizeof new) != 0)
        return -EFAULT;
    if (a[1]) {
        new.mask &= ~UNBLOCKABLE;
        signal_actions[signal] = new;
        if (signal_ignored(signal)) {
            struct siginfo dropped;
            while (signal_pending() & SIGNAL_BIT(signal))
                signal_take(signal, &dropped);
        }
    }
    return 0;
}
SYSCALL(13, rt_sigaction, sys_rt_sigaction, process);

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
SYSCALL(14, rt_sigprocmask, sys_rt_sigprocmask, process);

/* Puts a signal mask of the program in force for this call. */
int64_t mask_for_call(uintptr_t mask, uint64_t size) {
    uint64_t set;
    if (!mask)
        return 0;
    if (size != 8)
        return -EINVAL;
    if (copy_from_user(&set, mask, sizeof set) != 0)
        return -EFAULT;
    signal_mask_for_call(set);
    return 0;
}

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
SYSCALL(62, kill, sys_kill, process);

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
SYSCALL(200, tkill, sys_tkill, process);
static int64_t sys_tgkill(const uint64_t *a) {
    if ((int)a[0] <= 0)
        return -EINVAL;
    return (int)a[0] != PROGRAM_PID ? -ESRCH : send_to((int)a[1], (int)a[2]);
}
SYSCALL(234, tgkill, sys_tgkill, process);
