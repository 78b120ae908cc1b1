/* Threads, pipes, eventfd, epoll, timers and futexes, with virtual time. */
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>

#include "check.h"
#include "hal/clock.h"
#include "host.h"
#include "nano/errno.h"
#include "nano/file.h"
#include "nano/init.h"
#include "nano/thread.h"
#include "nano/timer.h"
#include "nano/vfs.h"
#include "nano/vm.h"

#define CALL(number, ...) call(number, (const uint64_t[6]){__VA_ARGS__})
#define MS 1000000ull

static uintptr_t memory; /* the program's: one page of scratch */

static int64_t call(uint64_t number, const uint64_t *a) {
    return host_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

static int fds[2];
static int64_t read_result;
static uint64_t woke_at;

static void reader(void *argument) {
    (void)argument;
    read_result = CALL(SYS_read, (uint64_t)fds[0], memory + 512, 100);
    woke_at = hal_clock_monotonic();
    thread_exit();
}

static int64_t wait_result;
static void futex_waiter(void *argument) {
    wait_result = CALL(SYS_futex, memory, 0, 0, (uint64_t)argument);
    woke_at = hal_clock_monotonic();
    thread_exit();
}

static unsigned order[8], order_count;
static void note(struct timer *timer) {
    order[order_count++] = (unsigned)timer->deadline;
}

static void pipes(void) {
    EQUAL(CALL(SYS_pipe2, memory, 0), 0);
    EQUAL(copy_from_user(fds, memory, sizeof fds), 0);
    CHECK(thread_create("reader", reader, NULL));
    uint64_t start = hal_clock_monotonic();
    host_run_until(start + 5 * MS);
    EQUAL(woke_at, 0);
    EQUAL(copy_to_user(memory, "hello", 5), 0);
    EQUAL(CALL(SYS_write, (uint64_t)fds[1], memory, 5), 5);
    host_run_until(start + 10 * MS);
    EQUAL(read_result, 5);
    EQUAL(woke_at, start + 5 * MS);
    char text[5];
    EQUAL(copy_from_user(text, memory + 512, 5), 0);
    CHECK(memcmp(text, "hello", 5) == 0);
    /* A closed writer ends the reader's wait. */
    CHECK(thread_create("reader", reader, NULL));
    host_run_until(start + 20 * MS);
    EQUAL(CALL(SYS_close, (uint64_t)fds[1]), 0);
    host_run_until(start + 30 * MS);
    EQUAL(read_result, 0);
    EQUAL(CALL(SYS_close, (uint64_t)fds[0]), 0);
}

static void futexes(void) {
    uint64_t timeout[2] = {0, 20 * MS}, start = hal_clock_monotonic();
    uint32_t zero = 0;
    EQUAL(copy_to_user(memory, &zero, sizeof zero), 0);
    EQUAL(copy_to_user(memory + 64, timeout, sizeof timeout), 0);
    CHECK(thread_create("waiter", futex_waiter, (void *)(memory + 64)));
    host_run_until(start + 50 * MS);
    EQUAL(wait_result, -ETIMEDOUT);
    EQUAL(woke_at, start + 20 * MS);
    CHECK(thread_create("waiter", futex_waiter, NULL));
    host_run_until(start + 60 * MS);
    wait_result = 99;
    EQUAL(CALL(SYS_futex, memory, 1, 10), 1);
    host_run_until(start + 70 * MS);
    EQUAL(wait_result, 0);
    EQUAL(CALL(SYS_futex, memory, 1, 10), 0);
}

static void timers(void) {
    static struct timer t[4];
    uint64_t start = hal_clock_monotonic();
    static const uint64_t after[4] = {30, 10, 20, 40};
    for (unsigned i = 0; i < 4; i++) {
        timer_init(&t[i], note);
        timer_arm(&t[i], start + after[i] * MS);
    }
    timer_cancel(&t[3]);
    timer_cancel(&t[3]);
    timer_arm(&t[0], start + 15 * MS); /* moved */
    host_run_until(start + 100 * MS);
    EQUAL(order_count, 3);
    EQUAL(order[0], (unsigned)(start + 10 * MS));
    EQUAL(order[1], (unsigned)(start + 15 * MS));
    EQUAL(order[2], (unsigned)(start + 20 * MS));
    EQUAL(hal_clock_monotonic(), start + 100 * MS);
}

static void epolls(void) {
    int64_t ep = CALL(SYS_epoll_create1, 0), event = CALL(SYS_eventfd2, 0, 04000);
    CHECK(ep >= 0 && event >= 0);
    struct epoll_event e = {.events = EPOLLIN, .data.u64 = 7}, got[2];
    EQUAL(copy_to_user(memory, &e, sizeof e), 0);
    EQUAL(CALL(SYS_epoll_ctl, (uint64_t)ep, EPOLL_CTL_ADD, (uint64_t)event, memory), 0);
    uint64_t start = hal_clock_monotonic(), one = 1;
    EQUAL(CALL(SYS_epoll_wait, (uint64_t)ep, memory + 128, 2, 25), 0);
    EQUAL(hal_clock_monotonic(), start + 25 * MS);
    EQUAL(copy_to_user(memory, &one, sizeof one), 0);
    EQUAL(CALL(SYS_write, (uint64_t)event, memory, 8), 8);
    EQUAL(CALL(SYS_epoll_wait, (uint64_t)ep, memory + 128, 2, (uint64_t)-1), 1);
    EQUAL(copy_from_user(got, memory + 128, sizeof got[0]), 0);
    EQUAL(got[0].data.u64, 7);
    /* The watched file goes away first, then the epoll: nothing is left that points to either. */
    EQUAL(CALL(SYS_close, (uint64_t)event), 0);
    EQUAL(CALL(SYS_epoll_wait, (uint64_t)ep, memory + 128, 2, 0), 0);
    event = CALL(SYS_eventfd2, 1, 0);
    EQUAL(copy_to_user(memory, &e, sizeof e), 0);
    EQUAL(CALL(SYS_epoll_ctl, (uint64_t)ep, EPOLL_CTL_ADD, (uint64_t)event, memory), 0);
    EQUAL(CALL(SYS_close, (uint64_t)ep), 0);
    EQUAL(CALL(SYS_close, (uint64_t)event), 0);
}

/* A wake of the last one goes up the whole row, on the kernel's stack: so a row has an end, from whichever side it grows. */
static void a_row_of_epolls_is_not_endless(void) {
    struct epoll_event e = {.events = EPOLLIN, .data.u64 = 1};
    EQUAL(copy_to_user(memory, &e, sizeof e), 0);
    for (unsigned downwards = 0; downwards < 2; downwards++) {
        uint64_t row[6], count = sizeof row / sizeof row[0];
        for (unsigned i = 0; i < count; i++)
            row[i] = (uint64_t)CALL(SYS_epoll_create1, 0);
        for (unsigned i = 1; i < count; i++) {
            uint64_t upper = downwards ? row[i - 1] : row[i], lower = downwards ? row[i] : row[i - 1];
            EQUAL(CALL(SYS_epoll_ctl, upper, EPOLL_CTL_ADD, lower, memory), i < 5 ? 0 : -ELOOP);
        }
        uint64_t first = downwards ? row[0] : row[4], last = downwards ? row[4] : row[0], event = (uint64_t)CALL(SYS_eventfd2, 1, 0);
        EQUAL(CALL(SYS_epoll_ctl, last, EPOLL_CTL_ADD, first, memory), -ELOOP);
        EQUAL(CALL(SYS_epoll_ctl, last, EPOLL_CTL_ADD, event, memory), 0);
        EQUAL(CALL(SYS_epoll_wait, first, memory + 128, 1, 0), 1);
        EQUAL(CALL(SYS_close, event), 0);
        for (unsigned i = 0; i < count; i++)
            EQUAL(CALL(SYS_close, row[i]), 0);
    }
}

int main(void) {
    host_start((size_t)16 << 20);
    vfs_init();
    vfs_mount_all();
    vm_init();
    int64_t page = vm_map(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, NULL, 0, NULL);
    CHECK(page > 0);
    memory = (uintptr_t)page;
    pipes();
    futexes();
    timers();
    epolls();
    a_row_of_epolls_is_not_endless();
    EQUAL(vm_unmap(memory, 4096), 0);
    return 0;
}
