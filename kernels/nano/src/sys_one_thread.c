/*
 * Threads as a program with one of them has them: what a C library calls when it starts and ends, and a futex that nobody
 * else waits at. Group `process`; the part `threads` (sys_thread.c) puts its own in place of exit, clone and futex.
 */
#include "nano/errno.h"
#include "nano/print.h"
#include "nano/program.h"
#include "nano/sys_thread.h"
#include "nano/sys_time.h"
#include "nano/syscall.h"
#include "nano/user.h"

static int64_t sys_set_tid_address(const uint64_t *a) {
    current->clear_tid = a[0];
    return current->tid;
}
SYSCALL(218, set_tid_address, sys_set_tid_address, process);

static int64_t sys_set_robust_list(const uint64_t *a) {
    if (a[1] != 24)
        return -EINVAL;
    current->robust_list = a[0];
    return 0;
}
SYSCALL(273, set_robust_list, sys_set_robust_list, process);

static int64_t sys_get_robust_list(const uint64_t *a) {
    struct thread *thread = a[0] ? thread_find((int)a[0]) : current;
    uint64_t size = 24;
    if (!thread)
        return -ESRCH;
    return copy_to_user(a[1], &thread->robust_list, 8) != 0 || copy_to_user(a[2], &size, 8) != 0 ? -EFAULT : 0;
}
SYSCALL(274, get_robust_list, sys_get_robust_list, process);

static int64_t one_exit(const uint64_t *a) {
    program_exit((int)a[0]);
}
SYSCALL(60, exit, one_exit, process);

int64_t futex_check(const uint64_t *a, uint64_t *deadline) {
    unsigned operation = FUTEX_OPERATION(a[1]);
    bool waits = operation == FUTEX_WAIT || operation == FUTEX_WAIT_BITSET, realtime = a[1] & FUTEX_CLOCK_REALTIME;
    uint64_t ns;
    *deadline = HAL_FOREVER;
    if (a[0] & 3)
        return -EINVAL;
    if (a[0] >= HAL_USER_END)
        return -EFAULT;
    if (realtime && !waits)
        return -ENOSYS;
    if (!waits || !a[3])
        return 0;
    int64_t status = time_from_user(a[3], &ns);
    if (status == 0)
        *deadline = operation == FUTEX_WAIT ? deadline_after(ns) : realtime ? realtime_deadline(ns) : ns;
    return status;
}

/* Nobody is there to wake or to be woken: a wait ends by a signal or by the time. */
static int64_t one_futex(const uint64_t *a) {
    unsigned operation = FUTEX_OPERATION(a[1]);
    uint64_t deadline;
    uint32_t value;
    int64_t status = futex_check(a, &deadline);
    if (status != 0)
        return status;
    if ((operation == FUTEX_WAIT_BITSET || operation == FUTEX_WAKE_BITSET) && (uint32_t)a[5] == 0)
        return -EINVAL;
    switch (operation) {
    case FUTEX_WAIT:
    case FUTEX_WAIT_BITSET:
        if (copy_from_user(&value, a[0], sizeof value) != 0)
            return -EFAULT;
        if (value != (uint32_t)a[2])
            return -EAGAIN;
        while (status == 0)
            status = thread_block(deadline, true);
        return status == -ERESTARTSYS && deadline != HAL_FOREVER ? -ERESTARTNOHAND : status;
    case FUTEX_WAKE:
    case FUTEX_WAKE_BITSET:
        return 0;
    default:
        return syscall_missing(202);
    }
}
SYSCALL(202, futex, one_futex, process);

int64_t second_process(void) {
    static bool told;
    if (!told)
        kprintf("nano: the program called clone for a second process: this kernel runs one program (kernels that do: linux, debian)\n");
    told = true;
    return -ENOSYS;
}

/* A second process is refused with or without the part `threads`, which would not help. */
static int64_t one_clone(const uint64_t *a) {
    return a[0] & CLONE_THREAD ? syscall_missing(56) : second_process();
}
SYSCALL(56, clone, one_clone, process);

static int64_t one_clone3(const uint64_t *a) {
    uint64_t flags;
    if (copy_from_user(&flags, a[0], sizeof flags) != 0)
        return -EFAULT;
    return flags & CLONE_THREAD ? syscall_missing(435) : second_process();
}
SYSCALL(435, clone3, one_clone3, process);
