/*
 * System calls on signals: group `signal`.
 */
#include "nano/errno.h"
#include "nano/process.h"
#include "nano/program.h"
#include "nano/signal_state.h"
#include "nano/sys_time.h"
#include "nano/syscall.h"
#include "nano/user.h"

static int64_t sys_rt_sigaction(const uint64_t *a) {
    struct signal_action new;
    int signal = (int)a[0];
    if (a[3] != 8 || signal < 1 || signal > SIGNALS || (a[1] && (signal == SIGKILL || signal == SIGSTOP)))
        return -EINVAL;
    if (a[1] && copy_from_user(&new, a[1], sizeof new) != 0)
        return -EFAULT;
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
    uint64_t set = signal_pending() & current->blocked;
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
        uint64_t there = signal_pending() & set;
        if (there) {
            struct siginfo info;
            int signal = __builtin_ctzll(there) + 1;
            signal_take(signal, &info);
            return a[1] && copy_to_user(a[1], &info, sizeof info) != 0 ? -EFAULT : signal;
        }
        int status = thread_block(deadline, true);
        if (status == -ETIMEDOUT)
            return -EAGAIN;
        if (status != 0 && !(signal_pending() & set))
            return -EINTR;
    }
}
SYSCALL(128, rt_sigtimedwait, sys_rt_sigtimedwait, signal);

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
