/*
 * poll, ppoll, select, pselect6: group `poll`.
 */
#include "hal/clock.h"
#include "hal/string.h"
#include "nano/errno.h"
#include "nano/file.h"
#include "nano/heap.h"
#include "nano/signal.h"
#include "nano/sys_time.h"
#include "nano/syscall.h"
#include "nano/thread.h"

#define ALWAYS (POLLERR | POLLHUP | POLLNVAL)

struct pollfd {
    int fd;
    int16_t events, revents;
};

/* One file that is waited for. */
struct watch {
    struct thread_waiter waiter;
    struct file *file;
};

/*
 * Waits until one of the descriptors has an event, or the deadline. Fills `revents`. The number of descriptors with
 * events, 0 at the deadline, or a negative error number.
 */
static int64_t poll_wait(struct pollfd *fds, size_t count, uint64_t deadline) {
    struct watch *watches = count ? kcalloc(count, sizeof *watches) : NULL;
    int64_t ready = 0;
    int status = 0;
    if (count && !watches)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++) {
        watches[i].file = fds[i].fd >= 0 ? fd_get((uint64_t)fds[i].fd) : NULL;
        thread_waiter_init(&watches[i].waiter);
        if (watches[i].file)
            waitq_add(&watches[i].file->waitq, &watches[i].waiter.waiter);
    }
    for (;;) {
        ready = 0;
        for (size_t i = 0; i < count; i++) {
            unsigned events = 0;
            if (watches[i].file)
                events = file_poll(watches[i].file) & ((uint16_t)fds[i].events | ALWAYS);
            else if (fds[i].fd >= 0)
                events = POLLNVAL;
            fds[i].revents = (int16_t)events;
            ready += events != 0;
        }
        if (ready || status != 0)
            break;
        status = thread_block(deadline, true);
    }
    for (size_t i = 0; i < count; i++)
        if (watches[i].file) {
            waitq_remove(&watches[i].waiter.waiter);
            file_put(watches[i].file);
        }
    kfree(watches);
    return ready ? ready : status == -ETIMEDOUT ? 0 : -ERESTARTNOHAND;
}

static int64_t poll_call(uintptr_t address, uint64_t count, uint64_t deadline) {
    if (count > FD_LIMIT)
        return -EINVAL;
    struct pollfd *fds = count ? kcalloc(count, sizeof *fds) : NULL;
    if (count && !fds)
        return -ENOMEM;
    int64_t result = count && copy_from_user(fds, address, count * sizeof *fds) != 0 ? -EFAULT : poll_wait(fds, count, deadline);
    for (size_t i = 0; i < count && result >= 0; i++)
        if (copy_to_user(address + i * sizeof *fds + offsetof(struct pollfd, revents), &fds[i].revents, 2) != 0)
            result = -EFAULT;
    kfree(fds);
    return result;
}

static int64_t sys_poll(const uint64_t *a) {
    int timeout = (int)a[2];
    return poll_call(a[0], (uint32_t)a[1], timeout < 0 ? HAL_FOREVER : deadline_after((uint64_t)timeout * 1000000));
}
SYSCALL(7, poll, sys_poll, poll);

static int64_t deadline_of_timespec(uintptr_t address, uint64_t *deadline) {
    uint64_t ns;
    *deadline = HAL_FOREVER;
    if (!address)
        return 0;
    int64_t status = time_from_user(address, &ns);
    if (status == 0)
        *deadline = deadline_after(ns);
    return status;
}

static int64_t sys_ppoll(const uint64_t *a) {
    uint64_t deadline;
    int64_t status = deadline_of_timespec(a[2], &deadline);
    if (status == 0)
        status = mask_for_call(a[3], a[4]);
    return status != 0 ? status : poll_call(a[0], (uint32_t)a[1], deadline);
}
SYSCALL(271, ppoll, sys_ppoll, poll);

#define IN_SET (POLLRDNORM | POLLIN | POLLHUP | POLLERR)
#define OUT_SET (POLLWRNORM | POLLOUT | POLLERR)
#define EXCEPT_SET POLLPRI

static int64_t select_call(int count, const uintptr_t sets[3], uint64_t deadline) {
    static const unsigned events[3] = {IN_SET, OUT_SET, EXCEPT_SET};
    uint64_t bits[3][1024 / 64] = {{0}};
    if (count < 0)
        return -EINVAL;
    if (count > 1024)
        count = 1024;
    size_t bytes = ((size_t)count + 63) / 64 * 8, used = 0;
    for (unsigned set = 0; set < 3; set++)
        if (sets[set] && copy_from_user(bits[set], sets[set], bytes) != 0)
            return -EFAULT;
    struct pollfd *fds = kcalloc((size_t)count + 1, sizeof *fds);
    if (!fds)
        return -ENOMEM;
    int64_t result = 0;
    for (int fd = 0; fd < count; fd++) {
        unsigned wanted = 0;
        for (unsigned set = 0; set < 3; set++)
            wanted |= bits[set][fd / 64] >> (fd % 64) & 1 ? events[set] : 0;
        if (!wanted)
            continue;
        struct file *file = fd_get((uint64_t)fd);
        if (!file)
            result = -EBADF;
        else
            file_put(file);
        fds[used++] = (struct pollfd){fd, (int16_t)wanted, 0};
    }
    if (result == 0)
        result = poll_wait(fds, used, deadline);
    if (result >= 0) {
        result = 0;
        uint64_t asked[3][1024 / 64];
        memcpy(asked, bits, sizeof asked);
        memset(bits, 0, sizeof bits);
        for (size_t i = 0; i < used; i++)
            for (unsigned set = 0; set < 3; set++) {
                int fd = fds[i].fd;
                if (asked[set][fd / 64] >> (fd % 64) & 1 && (unsigned)fds[i].revents & events[set]) {
                    bits[set][fd / 64] |= 1ull << (fd % 64);
                    result++;
                }
            }
        for (unsigned set = 0; set < 3 && result >= 0; set++)
            if (sets[set] && copy_to_user(sets[set], bits[set], bytes) != 0)
                result = -EFAULT;
    }
    kfree(fds);
    return result;
}

static int64_t sys_select(const uint64_t *a) {
    uint64_t deadline = HAL_FOREVER;
    int64_t time[2];
    if (a[4]) {
        if (copy_from_user(time, a[4], sizeof time) != 0)
            return -EFAULT;
        if (time[0] < 0 || time[1] < 0)
            return -EINVAL;
        deadline = time[0] > 1000000000 ? HAL_FOREVER : deadline_after((uint64_t)time[0] * 1000000000 + (uint64_t)time[1] % 1000000000000 * 1000);
    }
    int64_t result = select_call((int)a[0], a + 1, deadline);
    if (a[4] && deadline != HAL_FOREVER && result >= 0) {
        uint64_t now = hal_clock_monotonic(), left = deadline > now ? deadline - now : 0;
        time[0] = (int64_t)(left / 1000000000);
        time[1] = (int64_t)(left % 1000000000 / 1000);
        copy_to_user(a[4], time, sizeof time);
    }
    return result;
}
SYSCALL(23, select, sys_select, poll);

static int64_t sys_pselect6(const uint64_t *a) {
    uint64_t deadline, mask[2];
    int64_t status = deadline_of_timespec(a[4], &deadline);
    if (status == 0 && a[5]) {
        status = copy_from_user(mask, a[5], sizeof mask);
        if (status == 0)
            status = mask_for_call(mask[0], mask[1]);
    }
    return status != 0 ? status : select_call((int)a[0], a + 1, deadline);
}
SYSCALL(270, pselect6, sys_pselect6, poll);
