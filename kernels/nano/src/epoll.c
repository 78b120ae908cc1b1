/*
 * epoll: group `epoll`. An item waits in its file's wait queue; when woken it goes to its epoll's ready list, which
 * epoll_wait() checks against the file's real readiness.
 */
#include "hal/clock.h"
#include "nano/errno.h"
#include "nano/file.h"
#include "nano/heap.h"
#include "nano/signal.h"
#include "nano/sys_time.h"
#include "nano/syscall.h"

#define EPOLLEXCLUSIVE (1u << 28)
#define EPOLLWAKEUP (1u << 29)
#define EPOLLONESHOT (1u << 30)
#define EPOLLET (1u << 31)
#define ALWAYS (POLLERR | POLLHUP)
#define MAX_DEPTH 5 /* epolls that watch one another in a row, as many as Linux has (EP_MAX_NESTS and one) */
#define BATCH 16

struct epoll_event {
    uint32_t events;
    uint64_t data;
} __attribute__((packed));

struct epoll {
    struct file *file;
    struct list items, ready;
};

struct item {
    struct waiter waiter; /* in the watched file's queue */
    struct list link;     /* in the epoll's items */
    struct list ready;    /* in the epoll's ready list, or alone */
    struct epoll *epoll;
    struct file *file; /* no reference: the file's end (WAIT_GONE) ends the item */
    int fd;
    bool spent; /* EPOLLONESHOT has fired */
    struct epoll_event event;
};

static void item_free(struct item *item) {
    list_remove(&item->waiter.link);
    list_remove(&item->link);
    list_remove(&item->ready);
    kfree(item);
}

static void item_woken(struct waiter *waiter, unsigned events) {
    struct item *item = CONTAINER(waiter, struct item, waiter);
    struct epoll *epoll = item->epoll;
    if (events & WAIT_GONE) {
        item_free(item);
        return;
    }
    if (!(events & (item->event.events | ALWAYS)))
        return;
    if (list_empty(&item->ready))
        list_push_back(&epoll->ready, &item->ready);
    waitq_wake(&epoll->file->waitq, POLLIN | POLLRDNORM);
}

static unsigned item_events(const struct item *item) {
    if (item->spent)
        return 0;
    return file_poll(item->file) & (item->event.events | ALWAYS);
}

static unsigned epoll_poll(struct file *file) {
    struct epoll *epoll = file->data;
    for (struct list *at = epoll->ready.next; at != &epoll->ready; at = at->next)
        if (item_events(CONTAINER(at, struct item, ready)))
            return POLLIN | POLLRDNORM;
    return 0;
}

static void epoll_release(struct file *file) {
    struct epoll *epoll = file->data;
    while (!list_empty(&epoll->items))
        item_free(CONTAINER(epoll->items.next, struct item, link));
    kfree(epoll);
}

static const struct file_ops epoll_ops = {.poll = epoll_poll, .release = epoll_release, .seek_does_nothing = true};

static int64_t create(unsigned flags) {
    struct epoll *epoll = kzalloc(sizeof *epoll);
    struct file *file = epoll ? file_create(&epoll_ops, O_RDWR, epoll) : NULL;
    if (!file) {
        kfree(epoll);
        return -ENOMEM;
    }
    epoll->file = file;
    list_init(&epoll->items);
    list_init(&epoll->ready);
    int fd = fd_install(file, 0, flags & O_CLOEXEC);
    if (fd < 0)
        file_put(file);
    return fd;
}

static int64_t sys_epoll_create(const uint64_t *a) {
    return (int)a[0] <= 0 ? -EINVAL : create(0);
}
SYSCALL(213, epoll_create, sys_epoll_create, epoll);
static int64_t sys_epoll_create1(const uint64_t *a) {
    return a[0] & ~(uint64_t)O_CLOEXEC ? -EINVAL : create((unsigned)a[0]);
}
SYSCALL(291, epoll_create1, sys_epoll_create1, epoll);

/* By the file's queue: few wait for one file, many files may be in one epoll. */
static struct item *find(const struct epoll *epoll, struct file *file, int fd) {
    for (struct list *at = file->waitq.waiters.next; at != &file->waitq.waiters; at = at->next) {
        struct waiter *waiter = CONTAINER(at, struct waiter, link);
        if (waiter->wake != item_woken)
            continue;
        struct item *item = CONTAINER(waiter, struct item, waiter);
        if (item->epoll == epoll && item->fd == fd)
            return item;
    }
    return NULL;
}

/* How many epolls are in the longest row from `file` on downwards; more than MAX_DEPTH where `target` is among them. */
static unsigned depth_below(const struct file *file, const struct file *target, unsigned level) {
    unsigned deepest = 0;
    if (file->ops != &epoll_ops)
        return 0;
    if (file == target || level > MAX_DEPTH)
        return MAX_DEPTH + 1;
    const struct epoll *epoll = file->data;
    for (struct list *at = epoll->items.next; at != &epoll->items && deepest <= MAX_DEPTH; at = at->next) {
        unsigned depth = depth_below(CONTAINER(at, struct item, link)->file, target, level + 1);
        deepest = depth > deepest ? depth : deepest;
    }
    return deepest + 1;
}

/* How many epolls are in the longest row that leads to `file`: those that watch it, and so on. */
static unsigned depth_above(const struct file *file) {
    unsigned deepest = 0;
    for (struct list *at = file->waitq.waiters.next; at != &file->waitq.waiters; at = at->next) {
        struct waiter *waiter = CONTAINER(at, struct waiter, link);
        if (waiter->wake != item_woken)
            continue;
        unsigned depth = depth_above(CONTAINER(waiter, struct item, waiter)->epoll->file) + 1;
        deepest = depth > deepest ? depth : deepest;
    }
    return deepest;
}

static void check_now(struct item *item) {
    if (item_events(item))
        item_woken(&item->waiter, item_events(item));
}

static int64_t control(struct epoll *epoll, unsigned operation, struct file *file, int fd, const struct epoll_event *event) {
    struct item *item = find(epoll, file, fd);
    switch (operation) {
    case 1: /* EPOLL_CTL_ADD */
        if (item)
            return -EEXIST;
        /* A wake goes up the row, a look goes down, each step on the kernel's stack. */
        if (file->ops == &epoll_ops && depth_above(epoll->file) + 1 + depth_below(file, epoll->file, 0) > MAX_DEPTH)
            return -ELOOP;
        item = kzalloc(sizeof *item);
        if (!item)
            return -ENOMEM;
        item->waiter.wake = item_woken;
        item->epoll = epoll;
        item->file = file;
        item->fd = fd;
        item->event = *event;
        list_init(&item->ready);
        list_push_back(&epoll->items, &item->link);
        waitq_add(&file->waitq, &item->waiter);
        check_now(item);
        return 0;
    case 2: /* EPOLL_CTL_DEL */
        if (!item)
            return -ENOENT;
        item_free(item);
        return 0;
    case 3: /* EPOLL_CTL_MOD */
        if (!item)
            return -ENOENT;
        if (item->event.events & EPOLLEXCLUSIVE || event->events & EPOLLEXCLUSIVE)
            return -EINVAL;
        item->event = *event;
        item->spent = false;
        check_now(item);
        return 0;
    default:
        return -EINVAL;
    }
}

static int64_t sys_epoll_ctl(const uint64_t *a) {
    struct epoll_event event = {0, 0};
    unsigned operation = (unsigned)a[1];
    if (operation != 2 && copy_from_user(&event, a[3], sizeof event) != 0)
        return -EFAULT;
    struct file *epoll = fd_get(a[0]), *file = epoll ? fd_get(a[2]) : NULL;
    int64_t status;
    if (!epoll || !file)
        status = -EBADF;
    else if (!file->ops->poll)
        status = -EPERM; /* regular files and directories */
    else if (epoll->ops != &epoll_ops || epoll == file)
        status = -EINVAL;
    else
        status = control(epoll->data, operation, file, (int)a[2], &event);
    if (file)
        file_put(file);
    if (epoll)
        file_put(epoll);
    return status;
}
SYSCALL(233, epoll_ctl, sys_epoll_ctl, epoll);

static bool epoll_ready(void *context) {
    return epoll_poll(context) != 0;
}

/*
 * Hands events over. An item that is level-triggered stays in the list, behind the others, so that all get their turn;
 * one whose file is not ready any more leaves it.
 */
static int64_t collect(struct epoll *epoll, uintptr_t to, int maximum) {
    int total = 0;
    struct list again;
    list_init(&again);
    while (total < maximum && !list_empty(&epoll->ready)) {
        struct epoll_event batch[BATCH];
        int count = 0;
        while (count < BATCH && total + count < maximum && !list_empty(&epoll->ready)) {
            struct item *item = CONTAINER(epoll->ready.next, struct item, ready);
            list_remove(&item->ready);
            unsigned events = item_events(item);
            if (!events)
                continue;
            batch[count++] = (struct epoll_event){events, item->event.data};
            if (item->event.events & EPOLLONESHOT)
                item->spent = true;
            else if (!(item->event.events & EPOLLET))
                list_push_back(&again, &item->ready);
        }
        if (copy_to_user(to + (uintptr_t)total * sizeof batch[0], batch, (size_t)count * sizeof batch[0]) != 0) {
            total = total ? total : -EFAULT;
            break;
        }
        total += count;
        if (count == 0)
            break;
    }
    while (!list_empty(&again)) {
        struct list *at = again.next;
        list_remove(at);
        list_push_back(&epoll->ready, at);
    }
    return total;
}

static int64_t epoll_wait(uint64_t fd, uintptr_t to, int maximum, uint64_t deadline) {
    if (maximum <= 0 || maximum > (int)(INT32_MAX / sizeof(struct epoll_event)))
        return -EINVAL;
    struct file *file = fd_get(fd);
    if (!file)
        return -EBADF;
    int64_t result = file->ops == &epoll_ops ? 0 : -EINVAL;
    while (result == 0) {
        result = collect(file->data, to, maximum);
        if (result != 0)
            break;
        int status = wait_until(&file->waitq, epoll_ready, file, deadline);
        if (status == -ETIMEDOUT)
            break;
        if (status != 0)
            result = -ERESTARTNOHAND;
    }
    file_put(file);
    return result;
}


static int64_t sys_epoll_pwait(const uint64_t *a) {
    int timeout = (int)a[3];
    int64_t status = mask_for_call(a[4], a[5]);
    if (status != 0)
        return status;
    return epoll_wait(a[0], a[1], (int)a[2], timeout < 0 ? HAL_FOREVER : timeout == 0 ? 0 : deadline_after((uint64_t)timeout * 1000000));
}
SYSCALL(281, epoll_pwait, sys_epoll_pwait, epoll);

static int64_t sys_epoll_wait(const uint64_t *a) {
    return sys_epoll_pwait((const uint64_t[]){a[0], a[1], a[2], a[3], 0, 0});
}
SYSCALL(232, epoll_wait, sys_epoll_wait, epoll);

static int64_t sys_epoll_pwait2(const uint64_t *a) {
    uint64_t ns, deadline = HAL_FOREVER;
    int64_t status = a[3] ? time_from_user(a[3], &ns) : 0;
    if (status == 0 && a[3])
        deadline = ns == 0 ? 0 : deadline_after(ns);
    if (status == 0)
        status = mask_for_call(a[4], a[5]);
    return status != 0 ? status : epoll_wait(a[0], a[1], (int)a[2], deadline);
}
SYSCALL(441, epoll_pwait2, sys_epoll_pwait2, epoll);
