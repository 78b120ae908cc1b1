/*
 * System calls on the process as a whole: group `process`. There is one user, root, and one process.
 */
#include "hal/boot.h"
#include "hal/clock.h"
#include "hal/string.h"
#include "nano/errno.h"
#include "nano/file.h"
#include "nano/page.h"
#include "nano/print.h"
#include "nano/process.h"
#include "nano/program.h"
#include "nano/random.h"
#include "nano/syscall.h"
#include "nano/thread.h"
#include "nano/user.h"
#include "nano/vm.h"

#define ARCH_SET_GS 0x1001
#define ARCH_SET_FS 0x1002
#define ARCH_GET_FS 0x1003
#define ARCH_GET_GS 0x1004
#define INFINITE UINT64_MAX

static int64_t sys_exit_group(const uint64_t *a) {
    program_exit((int)a[0]);
}
SYSCALL(231, exit_group, sys_exit_group, process);

static int64_t sys_getpid(const uint64_t *a) {
    (void)a;
    return PROGRAM_PID;
}
SYSCALL(39, getpid, sys_getpid, process);
SYSCALL(111, getpgrp, sys_getpid, process);

static int64_t sys_getppid(const uint64_t *a) {
    (void)a;
    return 1;
}
SYSCALL(110, getppid, sys_getppid, process);

static int64_t sys_gettid(const uint64_t *a) {
    (void)a;
    return current->tid;
}
SYSCALL(186, gettid, sys_gettid, process);

static int64_t sys_zero(const uint64_t *a) {
    (void)a;
    return 0;
}
SYSCALL(102, getuid, sys_zero, process);
SYSCALL(104, getgid, sys_zero, process);
SYSCALL(107, geteuid, sys_zero, process);
SYSCALL(108, getegid, sys_zero, process);
SYSCALL(115, getgroups, sys_zero, process);

static int64_t sys_getpgid(const uint64_t *a) {
    return a[0] == 0 || a[0] == PROGRAM_PID ? PROGRAM_PID : -ESRCH;
}
SYSCALL(121, getpgid, sys_getpgid, process);
SYSCALL(124, getsid, sys_getpgid, process);

static int64_t sys_setpgid(const uint64_t *a) {
    return a[0] == 0 || a[0] == PROGRAM_PID ? 0 : -ESRCH;
}
SYSCALL(109, setpgid, sys_setpgid, process);

static int64_t sys_setsid(const uint64_t *a) {
    (void)a;
    return -EPERM; /* it leads its group already */
}
SYSCALL(112, setsid, sys_setsid, process);

/* The superuser may become anybody; here there is nobody else. */
static int64_t set_id(const uint64_t *a) {
    return a[0] == 0 || (uint32_t)a[0] == UINT32_MAX ? 0 : -EPERM;
}
SYSCALL(105, setuid, set_id, process);
SYSCALL(106, setgid, set_id, process);
SYSCALL(116, setgroups, sys_zero, process);

static int64_t three_ids(const uint64_t *a) {
    uint32_t zero = 0;
    for (unsigned i = 0; i < 3; i++)
        if (copy_to_user(a[i], &zero, sizeof zero) != 0)
            return -EFAULT;
    return 0;
}
SYSCALL(118, getresuid, three_ids, process);
SYSCALL(120, getresgid, three_ids, process);

static int64_t sys_uname(const uint64_t *a) {
    struct {
        char system[65], node[65], release[65], version[65], machine[65], domain[65];
    } name;
    memset(&name, 0, sizeof name);
    hal_format(name.system, sizeof name.system, "Linux");
    hal_format(name.node, sizeof name.node, "%s", process.hostname);
    hal_format(name.release, sizeof name.release, "6.1.0-nano");
    hal_format(name.version, sizeof name.version, "#1 nano");
    hal_format(name.machine, sizeof name.machine, "x86_64");
    hal_format(name.domain, sizeof name.domain, "(none)");
    return copy_to_user(a[0], &name, sizeof name);
}
SYSCALL(63, uname, sys_uname, process);

static int64_t sys_sethostname(const uint64_t *a) {
    char name[65] = {0};
    if (a[1] > 64)
        return -EINVAL;
    if (copy_from_user(name, a[0], a[1]) != 0)
        return -EFAULT;
    memcpy(process.hostname, name, sizeof name);
    return 0;
}
SYSCALL(170, sethostname, sys_sethostname, process);

static int64_t sys_arch_prctl(const uint64_t *a) {
    uint64_t value;
    hal_context_sync(&current->context);
    switch ((unsigned)a[0]) {
    case ARCH_SET_FS:
    case ARCH_SET_GS:
        if (a[1] >= HAL_USER_END)
            return -EPERM;
        *((unsigned)a[0] == ARCH_SET_FS ? &current->context.fs_base : &current->context.gs_base) = a[1];
        hal_context_reload(&current->context);
        return 0;
    case ARCH_GET_FS:
    case ARCH_GET_GS:
        value = (unsigned)a[0] == ARCH_GET_FS ? current->context.fs_base : current->context.gs_base;
        return copy_to_user(a[1], &value, sizeof value);
    default:
        return -EINVAL;
    }
}
SYSCALL(158, arch_prctl, sys_arch_prctl, process);

static int64_t sys_prctl(const uint64_t *a) {
    static uint64_t dumpable = 1, no_new_privileges, death_signal, timer_slack = 50000;
    char name[16] = {0};
    switch ((unsigned)a[0]) {
    case 1: /* PR_SET_PDEATHSIG */
        if (a[1] > 64)
            return -EINVAL;
        death_signal = a[1];
        return 0;
    case 2: { /* PR_GET_PDEATHSIG */
        int value = (int)death_signal;
        return copy_to_user(a[1], &value, sizeof value);
    }
    case 3: /* PR_GET_DUMPABLE */
        return (int64_t)dumpable;
    case 4: /* PR_SET_DUMPABLE */
        if (a[1] > 1)
            return -EINVAL;
        dumpable = a[1];
        return 0;
    case 15: { /* PR_SET_NAME */
        int64_t length = copy_string_from_user(name, a[1], sizeof name);
        if (length == -EFAULT)
            return length;
        name[15] = '\0';
        memcpy(current->name, name, sizeof name);
        if (current->tid == PROGRAM_PID)
            memcpy(process.name, name, sizeof name);
        return 0;
    }
    case 16: /* PR_GET_NAME */
        return copy_to_user(a[1], current->tid == PROGRAM_PID ? process.name : current->name, 16);
    case 29: /* PR_SET_TIMERSLACK */
        timer_slack = a[1] ? a[1] : 50000;
        return 0;
    case 30: /* PR_GET_TIMERSLACK */
        return (int64_t)timer_slack;
    case 38: /* PR_SET_NO_NEW_PRIVS */
        if (a[1] != 1 || a[2] || a[3] || a[4])
            return -EINVAL;
        no_new_privileges = 1;
        return 0;
    case 39: /* PR_GET_NO_NEW_PRIVS */
        return a[1] || a[2] || a[3] || a[4] ? -EINVAL : (int64_t)no_new_privileges;
    default:
        return -EINVAL;
    }
}
SYSCALL(157, prctl, sys_prctl, process);

/* Soft and hard limits, by RLIMIT_ number. What cannot happen here has no limit. */
static uint64_t limits[16][2] = {
    {INFINITE, INFINITE}, {INFINITE, INFINITE}, {INFINITE, INFINITE}, {VM_STACK_SIZE, INFINITE}, {0, INFINITE}, {INFINITE, INFINITE},
    {1024, 1024}, {FD_LIMIT, FD_LIMIT}, {INFINITE, INFINITE}, {INFINITE, INFINITE}, {INFINITE, INFINITE}, {1024, 1024},
    {819200, 819200}, {0, 0}, {0, 0}, {INFINITE, INFINITE}};

static int64_t limit_call(unsigned resource, uintptr_t new, uintptr_t old) {
    uint64_t wanted[2];
    if (resource >= 16)
        return -EINVAL;
    if (new && copy_from_user(wanted, new, sizeof wanted) != 0)
        return -EFAULT;
    if (new && wanted[0] > wanted[1])
        return -EINVAL;
    if (new && resource == 7 && wanted[1] > FD_LIMIT)
        return -EPERM;
    if (old && copy_to_user(old, limits[resource], sizeof wanted) != 0)
        return -EFAULT;
    if (new)
        memcpy(limits[resource], wanted, sizeof wanted);
    return 0;
}
static int64_t sys_getrlimit(const uint64_t *a) {
    return limit_call((unsigned)a[0], 0, a[1]);
}
SYSCALL(97, getrlimit, sys_getrlimit, process);
static int64_t sys_setrlimit(const uint64_t *a) {
    return a[1] ? limit_call((unsigned)a[0], a[1], 0) : -EFAULT;
}
SYSCALL(160, setrlimit, sys_setrlimit, process);
static int64_t sys_prlimit64(const uint64_t *a) {
    return a[0] && a[0] != PROGRAM_PID ? -ESRCH : limit_call((unsigned)a[1], a[2], a[3]);
}
SYSCALL(302, prlimit64, sys_prlimit64, process);

static int64_t sys_sysinfo(const uint64_t *a) {
    struct {
        int64_t uptime;
        uint64_t loads[3], total, free, shared, buffers, total_swap, free_swap;
        uint16_t processes, pad;
        uint64_t total_high, free_high;
        uint32_t unit;
    } info;
    memset(&info, 0, sizeof info);
    info.uptime = (int64_t)(hal_clock_monotonic() / 1000000000);
    info.total = page_total() * PAGE_SIZE;
    info.free = page_available() * PAGE_SIZE;
    info.processes = 1;
    info.unit = 1;
    return copy_to_user(a[0], &info, sizeof info);
}
SYSCALL(99, sysinfo, sys_sysinfo, process);

static int64_t sys_getrusage(const uint64_t *a) {
    uint64_t usage[18] = {0};
    int who = (int)a[0];
    if (who != 0 && who != 1 && who != -1)
        return -EINVAL;
    if (who != -1) {
        uint64_t ns = hal_clock_monotonic() - process.started;
        usage[0] = ns / 1000000000;
        usage[1] = ns % 1000000000 / 1000;
        usage[4] = vm_resident_pages() * 4;
    }
    return copy_to_user(a[1], usage, sizeof usage);
}
SYSCALL(98, getrusage, sys_getrusage, process);

static int64_t sys_times(const uint64_t *a) {
    uint64_t ticks = hal_clock_monotonic() / 10000000, times[4] = {ticks, 0, 0, 0};
    if (a[0] && copy_to_user(a[0], times, sizeof times) != 0)
        return -EFAULT;
    return (int64_t)ticks;
}
SYSCALL(100, times, sys_times, process);

static int64_t sys_sched_getaffinity(const uint64_t *a) {
    uint64_t mask = 1;
    if (a[1] < sizeof mask || a[1] & 7)
        return -EINVAL;
    if (a[0] && !thread_find((int)a[0]))
        return -ESRCH;
    return copy_to_user(a[2], &mask, sizeof mask) ? -EFAULT : (int64_t)sizeof mask;
}
SYSCALL(204, sched_getaffinity, sys_sched_getaffinity, process);

static int64_t sys_sched_setaffinity(const uint64_t *a) {
    uint8_t mask = 0;
    if (a[1] && copy_from_user(&mask, a[2], 1) != 0)
        return -EFAULT;
    return mask & 1 ? 0 : -EINVAL;
}
SYSCALL(203, sched_setaffinity, sys_sched_setaffinity, process);

static int64_t sys_getcpu(const uint64_t *a) {
    uint32_t zero = 0;
    if ((a[0] && copy_to_user(a[0], &zero, sizeof zero) != 0) || (a[1] && copy_to_user(a[1], &zero, sizeof zero) != 0))
        return -EFAULT;
    return 0;
}
SYSCALL(309, getcpu, sys_getcpu, process);

/* Priorities change nothing: threads run in turn. */
static int64_t sys_sched_getparam(const uint64_t *a) {
    uint32_t zero = 0;
    if (a[0] && !thread_find((int)a[0]))
        return -ESRCH;
    return copy_to_user(a[1], &zero, sizeof zero);
}
SYSCALL(143, sched_getparam, sys_sched_getparam, process);
static int64_t sys_sched_getscheduler(const uint64_t *a) {
    return a[0] && !thread_find((int)a[0]) ? -ESRCH : 0;
}
SYSCALL(145, sched_getscheduler, sys_sched_getscheduler, process);
static int64_t sys_sched_setscheduler(const uint64_t *a) {
    return a[0] && !thread_find((int)a[0]) ? -ESRCH : a[1] <= 5 ? 0 : -EINVAL;
}
SYSCALL(144, sched_setscheduler, sys_sched_setscheduler, process);
static int64_t sys_sched_priority(const uint64_t *a) {
    return a[0] > 6 || a[0] == 4 ? -EINVAL : 0;
}
SYSCALL(146, sched_get_priority_max, sys_sched_priority, process);
SYSCALL(147, sched_get_priority_min, sys_sched_priority, process);
static int64_t sys_getpriority(const uint64_t *a) {
    (void)a;
    return 20;
}
SYSCALL(140, getpriority, sys_getpriority, process);
SYSCALL(141, setpriority, sys_zero, process);

/* What one program cannot do: clear words in the log, once, and Linux's error. */
static int64_t refuse(const char *name, uint64_t *told, int error) {
    if (!(*told)++)
        kprintf("nano: the program called %s: this kernel runs one program and starts no second one (kernels that do: linux, debian)\n", name);
    return -error;
}
static int64_t sys_fork(const uint64_t *a) {
    static uint64_t told;
    (void)a;
    return refuse("fork", &told, ENOSYS);
}
SYSCALL(57, fork, sys_fork, process);
SYSCALL(58, vfork, sys_fork, process);
static int64_t sys_execve(const uint64_t *a) {
    static uint64_t told;
    (void)a;
    return refuse("execve", &told, ENOSYS);
}
SYSCALL(59, execve, sys_execve, process);
SYSCALL(322, execveat, sys_execve, process);

static int64_t sys_wait4(const uint64_t *a) {
    (void)a;
    return -ECHILD;
}
SYSCALL(61, wait4, sys_wait4, process);
SYSCALL(247, waitid, sys_wait4, process);

static int64_t sys_membarrier(const uint64_t *a) {
    return a[0] == 0 ? 0x19 : a[0] == 1 || a[0] == 8 || a[0] == 16 ? 0 : -EINVAL; /* one CPU: every barrier holds */
}
SYSCALL(324, membarrier, sys_membarrier, process);

static int64_t sys_rseq(const uint64_t *a) {
    (void)a;
    return -ENOSYS; /* said quietly: every C library asks, and does without */
}
SYSCALL(334, rseq, sys_rseq, process);
