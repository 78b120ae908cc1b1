/*
 * System calls on time: group `time`.
 */
#include "hal/clock.h"
#include "nano/errno.h"
#include "nano/process.h"
#include "nano/signal.h"
#include "nano/syscall.h"
#include "nano/sys_time.h"
#include "nano/thread.h"
#include "nano/user.h"
#include "nano/vdso.h"
#include "nano/vfs.h"

#define NS 1000000000
#define TIMER_ABSTIME 1u

enum { CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID, CLOCK_MONOTONIC_RAW,
       CLOCK_REALTIME_COARSE, CLOCK_MONOTONIC_COARSE, CLOCK_BOOTTIME, CLOCK_REALTIME_ALARM, CLOCK_BOOTTIME_ALARM, CLOCK_TAI = 11 };

static int64_t read_clock(int id, int64_t *ns) {
    switch (id) {
    case CLOCK_REALTIME:
    case CLOCK_REALTIME_COARSE:
    case CLOCK_REALTIME_ALARM:
    case CLOCK_TAI:
        *ns = vfs_now();
        return 0;
    case CLOCK_MONOTONIC:
    case CLOCK_MONOTONIC_RAW:
    case CLOCK_MONOTONIC_COARSE:
    case CLOCK_BOOTTIME:
    case CLOCK_BOOTTIME_ALARM:
        *ns = (int64_t)hal_clock_monotonic();
        return 0;
    case CLOCK_PROCESS_CPUTIME_ID: {
        uint64_t sum = 0;
        for (struct list *at = threads.next; at != &threads; at = at->next)
            sum += CONTAINER(at, struct thread, link)->in_program ? CONTAINER(at, struct thread, link)->cpu_ns : 0;
        *ns = (int64_t)(sum + hal_clock_monotonic() - current->switched_in_ns);
        return 0;
    }
    case CLOCK_THREAD_CPUTIME_ID:
        *ns = (int64_t)(current->cpu_ns + hal_clock_monotonic() - current->switched_in_ns);
        return 0;
    default:
        return -EINVAL;
    }
}

static int64_t put_time(uintptr_t to, int64_t ns) {
    int64_t pair[2] = {ns / NS, ns % NS};
    if (pair[1] < 0) {
        pair[0]--;
        pair[1] += NS;
    }
    return copy_to_user(to, pair, sizeof pair);
}

int64_t time_from_user(uintptr_t from, uint64_t *ns) {
    int64_t pair[2];
    if (copy_from_user(pair, from, sizeof pair) != 0)
        return -EFAULT;
    if (pair[0] < 0 || pair[1] < 0 || pair[1] >= NS)
        return -EINVAL;
    *ns = pair[0] > INT64_MAX / NS - 1 ? HAL_FOREVER : (uint64_t)pair[0] * NS + (uint64_t)pair[1];
    return 0;
}

uint64_t realtime_deadline(uint64_t ns) {
    int64_t offset = hal_clock_wall_offset() + process.clock_offset;
    if (ns == HAL_FOREVER)
        return ns;
    return (int64_t)ns <= offset ? 0 : ns - (uint64_t)offset;
}

static int64_t sys_clock_gettime(const uint64_t *a) {
    int64_t ns, status = read_clock((int)a[0], &ns);
    return status != 0 ? status : put_time(a[1], ns);
}
SYSCALL(228, clock_gettime, sys_clock_gettime, time);

static int64_t sys_clock_getres(const uint64_t *a) {
    int64_t ns, status = read_clock((int)a[0], &ns);
    bool coarse = a[0] == CLOCK_REALTIME_COARSE || a[0] == CLOCK_MONOTONIC_COARSE;
    return status != 0 || !a[1] ? status : put_time(a[1], coarse ? 4000000 : 1);
}
SYSCALL(229, clock_getres, sys_clock_getres, time);

static int64_t sys_clock_settime(const uint64_t *a) {
    uint64_t ns;
    if (a[0] != CLOCK_REALTIME)
        return -EINVAL;
    int64_t status = time_from_user(a[1], &ns);
    if (status == 0) {
        process.clock_offset += (int64_t)ns - vfs_now();
        vdso_update();
    }
    return status;
}
SYSCALL(227, clock_settime, sys_clock_settime, time);

static int64_t sys_gettimeofday(const uint64_t *a) {
    int64_t now = vfs_now(), pair[2] = {now / NS, now % NS / 1000}, zone = 0;
    if ((a[0] && copy_to_user(a[0], pair, sizeof pair) != 0) || (a[1] && copy_to_user(a[1], &zone, sizeof zone) != 0))
        return -EFAULT;
    return 0;
}
SYSCALL(96, gettimeofday, sys_gettimeofday, time);

static int64_t sys_time(const uint64_t *a) {
    int64_t seconds = vfs_now() / NS;
    return a[0] && copy_to_user(a[0], &seconds, sizeof seconds) != 0 ? -EFAULT : seconds;
}
SYSCALL(201, time, sys_time, time);

static int64_t sleep_until(uint64_t deadline, bool absolute, uintptr_t rest) {
    int status;
    do
        status = thread_block(deadline, true);
    while (status == 0);
    if (status == -ETIMEDOUT)
        return 0;
    if (!absolute && rest) {
        uint64_t now = hal_clock_monotonic();
        if (put_time(rest, deadline > now ? (int64_t)(deadline - now) : 0) != 0)
            return -EFAULT;
    }
    return absolute ? -ERESTARTSYS : -ERESTARTNOHAND;
}

static int64_t sys_nanosleep(const uint64_t *a) {
    uint64_t ns;
    int64_t status = time_from_user(a[0], &ns);
    return status != 0 ? status : sleep_until(deadline_after(ns), false, a[1]);
}
SYSCALL(35, nanosleep, sys_nanosleep, time);

static int64_t sys_clock_nanosleep(const uint64_t *a) {
    uint64_t ns;
    int64_t now, status = read_clock((int)a[0], &now);
    if (status == 0 && (a[0] == CLOCK_PROCESS_CPUTIME_ID || a[0] == CLOCK_THREAD_CPUTIME_ID))
        status = a[0] == CLOCK_THREAD_CPUTIME_ID ? -EINVAL : -EOPNOTSUPP;
    if (status == 0)
        status = time_from_user(a[2], &ns);
    if (status != 0)
        return status;
    if (!(a[1] & TIMER_ABSTIME))
        return sleep_until(deadline_after(ns), false, a[3]);
    bool real = a[0] == CLOCK_REALTIME || a[0] == CLOCK_TAI || a[0] == CLOCK_REALTIME_ALARM;
    return sleep_until(real ? realtime_deadline(ns) : ns, true, 0);
}
SYSCALL(230, clock_nanosleep, sys_clock_nanosleep, time);

static int64_t sys_sched_yield(const uint64_t *a) {
    (void)a;
    thread_yield();
    return 0;
}
SYSCALL(24, sched_yield, sys_sched_yield, time);

/* alarm and setitimer(ITIMER_REAL). */
static struct timer alarm;
static uint64_t alarm_interval;

static void alarm_expired(struct timer *timer) {
    struct siginfo info = {.signo = SIGALRM, .code = 0x80};
    signal_send_program(&info);
    if (alarm_interval)
        timer_arm(timer, timer->deadline + alarm_interval);
}

static uint64_t alarm_left(void) {
    uint64_t now = hal_clock_monotonic();
    return !alarm.expired || !timer_armed(&alarm) ? 0 : alarm.deadline > now ? alarm.deadline - now : 1000;
}

static void alarm_set(uint64_t first, uint64_t interval) {
    if (!alarm.expired)
        timer_init(&alarm, alarm_expired);
    timer_cancel(&alarm);
    alarm_interval = interval;
    if (first)
        timer_arm(&alarm, deadline_after(first));
}

static int64_t sys_alarm(const uint64_t *a) {
    uint64_t left = (alarm_left() + NS - 1) / NS;
    alarm_set((a[0] & 0xffffffff) * NS, 0);
    return (int64_t)left;
}
SYSCALL(37, alarm, sys_alarm, time);

static int64_t sys_getitimer(const uint64_t *a) {
    uint64_t left = a[0] == 0 ? alarm_left() : 0, interval = a[0] == 0 ? alarm_interval : 0;
    int64_t value[4] = {(int64_t)(interval / NS), (int64_t)(interval % NS / 1000), (int64_t)(left / NS), (int64_t)(left % NS / 1000)};
    return a[0] > 2 ? -EINVAL : copy_to_user(a[1], value, sizeof value);
}
SYSCALL(36, getitimer, sys_getitimer, time);

static int64_t sys_setitimer(const uint64_t *a) {
    int64_t value[4] = {0};
    if (a[0] > 2 || (a[1] && copy_from_user(value, a[1], sizeof value) != 0))
        return a[0] > 2 ? -EINVAL : -EFAULT;
    for (unsigned i = 0; i < 4; i++)
        if (value[i] < 0 || (i & 1 && value[i] >= 1000000))
            return -EINVAL;
    if (a[0] != 0)
        return -ENOSYS;
    if (a[2]) {
        int64_t status = sys_getitimer((const uint64_t[]){0, a[2]});
        if (status != 0)
            return status;
    }
    uint64_t limit = INT64_MAX / NS - 1;
    alarm_set(((uint64_t)value[2] > limit ? limit : (uint64_t)value[2]) * NS + (uint64_t)value[3] * 1000,
              ((uint64_t)value[0] > limit ? limit : (uint64_t)value[0]) * NS + (uint64_t)value[1] * 1000);
    return 0;
}
SYSCALL(38, setitimer, sys_setitimer, time);
