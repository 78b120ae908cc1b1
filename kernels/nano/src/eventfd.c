/*
 * eventfd: group `eventfd`.
 */
#include "nano/errno.h"
#include "nano/file.h"
#include "nano/heap.h"
#include "nano/syscall.h"

#define EFD_SEMAPHORE 1u

struct event {
    uint64_t count;
    bool semaphore;
};

static bool event_ready(void *context) {
    return ((struct event *)context)->count > 0;
}

static int64_t event_read(struct file *file, struct iter *to, uint64_t offset) {
    (void)offset;
    struct event *event = file->data;
    if (to->left < 8)
        return -EINVAL;
    if (!event->count && file->flags & O_NONBLOCK)
        return -EAGAIN;
    int status = wait_until(&file->waitq, event_ready, event, HAL_FOREVER);
    if (status != 0)
        return status;
    uint64_t value = event->semaphore ? 1 : event->count;
    event->count -= value;
    waitq_wake(&file->waitq, POLLOUT | POLLWRNORM);
    return iter_put(to, &value, 8) == 8 ? 8 : -EFAULT;
}

struct event_sum {
    const struct event *event;
    uint64_t add;
};

static bool event_fits(void *context) {
    const struct event_sum *sum = context;
    return sum->add <= UINT64_MAX - 1 - sum->event->count;
}

static int64_t event_write(struct file *file, struct iter *from, uint64_t offset) {
    (void)offset;
    struct event *event = file->data;
    struct event_sum sum = {event, 0};
    if (from->left < 8)
        return -EINVAL;
    if (iter_get(from, &sum.add, 8) != 8)
        return -EFAULT;
    if (sum.add == UINT64_MAX)
        return -EINVAL;
    if (!event_fits(&sum) && file->flags & O_NONBLOCK)
        return -EAGAIN;
    int status = wait_until(&file->waitq, event_fits, &sum, HAL_FOREVER);
    if (status != 0)
        return status;
    event->count += sum.add;
    if (event->count)
        waitq_wake(&file->waitq, POLLIN | POLLRDNORM);
    return 8;
}

static unsigned event_poll(struct file *file) {
    const struct event *event = file->data;
    return (event->count ? POLLIN | POLLRDNORM : 0) | (event->count < UINT64_MAX - 1 ? POLLOUT | POLLWRNORM : 0);
}

static void data_release(struct file *file) {
    kfree(file->data);
}

static const struct file_ops event_ops = {.read = event_read, .write = event_write, .poll = event_poll, .release = data_release, .seek_does_nothing = true};

static int64_t sys_eventfd2(const uint64_t *a) {
    if (a[1] & ~(uint64_t)(EFD_SEMAPHORE | O_NONBLOCK | O_CLOEXEC))
        return -EINVAL;
    struct event *event = kzalloc(sizeof *event);
    if (event) {
        event->count = (uint32_t)a[0];
        event->semaphore = a[1] & EFD_SEMAPHORE;
    }
    return fd_install_new(&event_ops, (unsigned)a[1], event);
}
SYSCALL(290, eventfd2, sys_eventfd2, eventfd);

static int64_t sys_eventfd(const uint64_t *a) {
    return sys_eventfd2((const uint64_t[]){a[0], 0});
}
SYSCALL(284, eventfd, sys_eventfd, eventfd);
