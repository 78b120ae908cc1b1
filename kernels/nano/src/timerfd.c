/*
 * timerfd: group `timerfd`.
 */
#include "hal/clock.h"
#include "nano/errno.h"
#include "nano/file.h"
#include "nano/heap.h"
#include "nano/sys_time.h"
#include "nano/syscall.h"
#include "nano/timer.h"

#define TFD_ABSTIME 1u
#define NS 1000000000

struct timer_file {
    struct timer timer;
    struct file *file;
    uint64_t interval, expirations;
    bool real;
};

static void timer_file_expired(struct timer *timer) {
    struct timer_file *t = CONTAINER(timer, struct timer_file, timer);
    t->expirations++;
    if (t->interval) {
        /* Missed periods count without an interrupt for each. */
        uint64_t now = hal_clock_monotonic(), missed = now > timer->deadline ? (now - timer->deadline) / t->interval : 0;
        t->expirations += missed;
        timer_arm(timer, timer->deadline + (missed + 1) * t->interval);
    }
    waitq_wake(&t->file->waitq, POLLIN | POLLRDNORM);
}

static bool timer_file_ready(void *context) {
    return ((struct timer_file *)context)->expirations > 0;
}

static int64_t timer_file_read(struct file *file, struct iter *to, uint64_t offset) {
    (void)offset;
    struct timer_file *t = file->data;
    if (to->left < 8)
        return -EINVAL;
    if (!t->expirations && file->flags & O_NONBLOCK)
        return -EAGAIN;
    int status = wait_until(&file->waitq, timer_file_ready, t, HAL_FOREVER);
    if (status != 0)
        return status;
    uint64_t value = t->expirations;
    t->expirations = 0;
    return iter_put(to, &value, 8) == 8 ? 8 : -EFAULT;
}

static unsigned timer_file_poll(struct file *file) {
    return ((struct timer_file *)file->data)->expirations ? POLLIN | POLLRDNORM : 0;
}

static void timer_file_release(struct file *file) {
    timer_cancel(&((struct timer_file *)file->data)->timer);
    kfree(file->data);
}

static const struct file_ops timer_ops = {.read = timer_file_read, .poll = timer_file_poll, .release = timer_file_release, .seek_does_nothing = true};

static int64_t sys_timerfd_create(const uint64_t *a) {
    if (a[1] & ~(uint64_t)(O_NONBLOCK | O_CLOEXEC) || (a[0] > 1 && a[0] != 7))
        return -EINVAL;
    struct timer_file *t = kzalloc(sizeof *t);
    if (t) {
        timer_init(&t->timer, timer_file_expired);
        t->real = a[0] == 0;
    }
    int64_t fd = fd_install_new(&timer_ops, (unsigned)a[1], t);
    if (fd >= 0) {
        struct file *file = fd_get((uint64_t)fd);
        t->file = file;
        file_put(file);
    }
    return fd;
}
SYSCALL(283, timerfd_create, sys_timerfd_create, timerfd);

static int64_t put_setting(uintptr_t to, const struct timer_file *t) {
    uint64_t now = hal_clock_monotonic();
    uint64_t left = !timer_armed(&t->timer) ? 0 : t->timer.deadline > now ? t->timer.deadline - now : 1;
    int64_t value[4] = {(int64_t)(t->interval / NS), (int64_t)(t->interval % NS), (int64_t)(left / NS), (int64_t)(left % NS)};
    return copy_to_user(to, value, sizeof value);
}

static int64_t sys_timerfd_settime(const uint64_t *a) {
    uint64_t interval, first;
    if (a[1] & ~3ull)
        return -EINVAL;
    int64_t status = time_from_user(a[2], &interval);
    if (status == 0)
        status = time_from_user(a[2] + 16, &first);
    if (status != 0)
        return status;
    struct file *file = fd_get(a[0]);
    if (!file)
        return -EBADF;
    struct timer_file *t = file->data;
    if (file->ops != &timer_ops)
        status = -EINVAL;
    else if (a[3])
        status = put_setting(a[3], t);
    if (status == 0) {
        timer_cancel(&t->timer);
        t->interval = interval;
        t->expirations = 0;
        if (first)
            timer_arm(&t->timer, !(a[1] & TFD_ABSTIME) ? deadline_after(first) : t->real ? realtime_deadline(first) : first);
    }
    file_put(file);
    return status;
}
SYSCALL(286, timerfd_settime, sys_timerfd_settime, timerfd);

static int64_t sys_timerfd_gettime(const uint64_t *a) {
    struct file *file = fd_get(a[0]);
    if (!file)
        return -EBADF;
    int64_t status = file->ops == &timer_ops ? put_setting(a[1], file->data) : -EINVAL;
    file_put(file);
    return status;
}
SYSCALL(287, timerfd_gettime, sys_timerfd_gettime, timerfd);
