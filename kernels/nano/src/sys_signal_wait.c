/*
 * Waiting for a signal: group `signals`.
 */
#include "hal/clock.h"
#include "nano/errno.h"
#include "nano/signal_state.h"
#include "nano/sys_time.h"
#include "nano/syscall.h"
#include "nano/user.h"

static int64_t sys_rt_sigpending(const uint64_t *a) {
    uint64_t set = signal_pending() & current->blocked;
    return a[1] > 8 ? -EINVAL : copy_to_user(a[0], &set, a[1]);
}
SYSCALL(127, rt_sigpending, sys_rt_sigpending, signals);

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
SYSCALL(130, rt_sigsuspend, sys_rt_sigsuspend, signals);

static int64_t sys_pause(const uint64_t *a) {
    (void)a;
    while (thread_block(HAL_FOREVER, true) == 0)
        ;
    return -ERESTARTNOHAND;
}
SYSCALL(34, pause, sys_pause, signals);

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
SYSCALL(128, rt_sigtimedwait, sys_rt_sigtimedwait, signals);
