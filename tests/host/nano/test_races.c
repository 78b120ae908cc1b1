/* What other threads do to files and threads while a copy from or to the program's memory waits for a disk. */
#define _GNU_SOURCE
#include <sched.h>
#include <string.h>
#include <sys/syscall.h>

#include "blocking.h"
#include "check.h"
#include "hal/clock.h"
#include "hal/driver.h"
#include "hal/memory.h"
#include "host.h"
#include "nano/file.h"
#include "nano/init.h"
#include "nano/process.h"
#include "nano/thread.h"

#define CALL(number, ...) call(number, (const uint64_t[6]){__VA_ARGS__})
#define MS 1000000ull
#define FIONREAD 0x541b

static uintptr_t memory; /* the program's: some pages of scratch */
static uint64_t fds[2];
static const struct hal_console_ops no_ops;
static struct hal_console console = {.ops = &no_ops};

static int64_t call(uint64_t number, const uint64_t *a) {
    return host_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

static void let_others_run(void) {
    for (unsigned i = 0; i < 4; i++)
        thread_yield();
}

static void settle(void) {
    host_run_until(hal_clock_monotonic() + MS);
}

/* tmpfs */

static uint8_t *next_page; /* what is allocated after the other thread's turn */
static bool cut;

static void cutter(void *argument) {
    (void)argument;
    EQUAL(CALL(SYS_ftruncate, fds[0], 0), 0);
    cut = true;
    thread_exit();
}

static void another_cuts_the_file(void) {
    CHECK(thread_create("cutter", cutter, NULL));
    let_others_run();
    next_page = page_alloc(0);
    CHECK(next_page);
    memset(next_page, 0xaa, HAL_PAGE_SIZE);
}

static bool untouched(const uint8_t *page) {
    for (unsigned i = 0; i < HAL_PAGE_SIZE; i++)
        if (page[i] != 0xaa)
            return false;
    return true;
}

/* A page of a file that is cut off is somebody else's then: a copy that has begun must have ended. */
static void a_page_is_not_freed_while_it_is_copied(uint64_t number) {
    static const char path[] = "/tmp/file";
    uint8_t got[100];
    EQUAL(copy_to_user(memory, path, sizeof path), 0);
    fds[0] = (uint64_t)CALL(SYS_open, memory, O_RDWR | O_CREAT, 0600);
    EQUAL(clear_user(memory, 4096), 0);
    EQUAL(CALL(SYS_pwrite64, fds[0], memory, 4096, 0), 4096);
    uintptr_t at = blocking_memory(4096);
    cut = false;
    meanwhile = another_cuts_the_file;
    EQUAL(CALL(number, fds[0], at, 100, 0), 100);
    CHECK(!meanwhile && !cut && untouched(next_page));
    EQUAL(copy_from_user(got, at, sizeof got), 0);
    for (unsigned i = 0; i < sizeof got; i++)
        EQUAL(got[i], 0);
    settle();
    CHECK(cut);
    EQUAL(CALL(SYS_lseek, fds[0], 0, 2), 0);
    page_free(next_page, 0);
    EQUAL(CALL(SYS_close, fds[0]), 0);
}

/* Pipes */

static char letters[201];
static int64_t other_result;

static void other_reader(void *argument) {
    (void)argument;
    other_result = CALL(SYS_read, fds[0], memory + 512, 100);
    thread_exit();
}

static void another_reads(void) {
    CHECK(thread_create("reader", other_reader, NULL));
    let_others_run();
}

static void other_writer(void *argument) {
    (void)argument;
    memset(letters, 'b', 100);
    EQUAL(copy_to_user(memory + 512, letters, 100), 0);
    other_result = CALL(SYS_write, fds[1], memory + 512, 100);
    thread_exit();
}

static void another_writes(void) {
    CHECK(thread_create("writer", other_writer, NULL));
    let_others_run();
}

static void open_pipe(void) {
    int pair[2];
    EQUAL(CALL(SYS_pipe2, memory, 0), 0);
    EQUAL(copy_from_user(pair, memory, sizeof pair), 0);
    fds[0] = (uint64_t)pair[0];
    fds[1] = (uint64_t)pair[1];
    other_result = 99;
}

static int waiting(void) {
    int bytes;
    EQUAL(CALL(SYS_ioctl, fds[0], FIONREAD, memory), 0);
    EQUAL(copy_from_user(&bytes, memory, sizeof bytes), 0);
    return bytes;
}

static void close_pipe(void) {
    EQUAL(CALL(SYS_close, fds[0]), 0);
    EQUAL(CALL(SYS_close, fds[1]), 0);
}

static void a_byte_of_a_pipe_is_read_once(void) {
    open_pipe();
    EQUAL(CALL(SYS_write, fds[1], memory, 100), 100);
    meanwhile = another_reads;
    EQUAL(CALL(SYS_read, fds[0], blocking_memory(4096), 100), 100);
    settle();
    EQUAL(waiting(), 0);
    EQUAL(other_result, 99);
    EQUAL(CALL(SYS_write, fds[1], memory, 7), 7);
    settle();
    EQUAL(other_result, 7);
    EQUAL(waiting(), 0);
    close_pipe();
}

static void two_writers_of_a_pipe_do_not_meet(void) {
    unsigned a = 0, b = 0;
    open_pipe();
    meanwhile = another_writes;
    uintptr_t at = blocking_memory(4096);
    EQUAL(CALL(SYS_write, fds[1], at, 100), 100);
    settle();
    EQUAL(other_result, 100);
    EQUAL(waiting(), 200);
    EQUAL(CALL(SYS_read, fds[0], memory, 200), 200);
    EQUAL(copy_from_user(letters, memory, 200), 0);
    for (unsigned i = 0; i < 200; i++) {
        a += letters[i] == '\0';
        b += letters[i] == 'b';
    }
    EQUAL(a, 100);
    EQUAL(b, 100);
    close_pipe();
}

/* /proc */

static void another_looks_at_what_is_open(void) {
    static const char path[] = "/proc/self/fd/7"; /* one that is not there yet */
    EQUAL(copy_to_user(memory + 512, path, sizeof path), 0);
    EQUAL(CALL(SYS_readlink, memory + 512, memory + 1024, 100), -ENOENT);
}

/* The links are made anew at each look, also while another thread reads one. */
static void a_links_target_stays_while_it_is_copied(void) {
    static const char path[] = "/tmp/file", link[] = "/proc/self/fd/0";
    char got[9];
    EQUAL(copy_to_user(memory, path, sizeof path), 0);
    EQUAL(CALL(SYS_open, memory, O_RDWR | O_CREAT, 0600), 0);
    EQUAL(copy_to_user(memory, link, sizeof link), 0);
    uintptr_t at = blocking_memory(4096);
    meanwhile = another_looks_at_what_is_open;
    EQUAL(CALL(SYS_readlink, memory, at, 100), 9);
    CHECK(!meanwhile);
    EQUAL(copy_from_user(got, at, sizeof got), 0);
    CHECK(memcmp(got, path, sizeof got) == 0);
    EQUAL(CALL(SYS_close, 0), 0);
}

/* The console */

static void another_reads_the_console(void) {
    EQUAL(CALL(SYS_read, fds[0], memory + 512, 4), 2);
}

static void what_was_typed_is_read_once(void) {
    static const char path[] = "/dev/console";
    char got[4];
    EQUAL(copy_to_user(memory, path, sizeof path), 0);
    fds[0] = (uint64_t)CALL(SYS_open, memory, O_RDWR | O_NONBLOCK, 0);
    console.input("abcdef", 6);
    uintptr_t at = blocking_memory(4096);
    meanwhile = another_reads_the_console;
    EQUAL(CALL(SYS_read, fds[0], at, 4), 4);
    CHECK(!meanwhile);
    EQUAL(copy_from_user(got, at, sizeof got), 0);
    CHECK(memcmp(got, "abcd", 4) == 0);
    EQUAL(copy_from_user(got, memory + 512, 2), 0);
    CHECK(memcmp(got, "ef", 2) == 0);
    EQUAL(CALL(SYS_read, fds[0], memory, 4), -EAGAIN);
    EQUAL(CALL(SYS_close, fds[0]), 0);
}

/* Threads */

static unsigned uncounted;

static void count_threads(void) {
    unsigned there = 0;
    for (struct list *at = threads.next; at != &threads; at = at->next)
        there += CONTAINER(at, struct thread, link)->in_program;
    uncounted = there - process.threads;
}

/* A signal may wake a thread from the moment on that it is there: by then it must count as one. */
static void a_new_thread_counts_before_it_can_run(void) {
    current->in_program = true;
    current->context.fpu = calloc(1, 512);
    process.threads = 1;
    struct hal_frame frame = {0};
    current->frame = &frame;
    uncounted = 99;
    meanwhile = count_threads;
    uint64_t flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_CHILD_SETTID;
    CHECK(CALL(SYS_clone, flags, memory, 0, blocking_memory(4096), 0) > 0);
    EQUAL(uncounted, 0);
    EQUAL(process.threads, 2);
}

static void the_other_ends(void) {
    process.threads--;
}

static void the_last_of_two_threads_that_end_at_once_ends_the_program(void) {
    current->clear_tid = blocking_memory(4096);
    process.threads = 2;
    meanwhile = the_other_ends;
    host_catches = true;
    int end = setjmp(host_end);
    if (end == 0)
        CALL(SYS_exit, 3);
    EQUAL(end, 1);
    CHECK(strstr(host_control(), "exit 3"));
}

int main(void) {
    host_start((size_t)16 << 20);
    hal_console_register(&console);
    vfs_init();
    vfs_mount_all();
    vm_init();
    initcalls_run(INIT_FILES);
    int64_t page = vm_map(0, 16384, PROT_READ | PROT_WRITE, MAP_PRIVATE, NULL, 0, NULL);
    CHECK(page > 0);
    memory = (uintptr_t)page;
    EQUAL(clear_user(memory, 16384), 0);
    a_page_is_not_freed_while_it_is_copied(SYS_pwrite64);
    a_page_is_not_freed_while_it_is_copied(SYS_pread64);
    EQUAL(clear_user(memory, 4096), 0);
    a_byte_of_a_pipe_is_read_once();
    two_writers_of_a_pipe_do_not_meet();
    a_links_target_stays_while_it_is_copied();
    what_was_typed_is_read_once();
    a_new_thread_counts_before_it_can_run();
    the_last_of_two_threads_that_end_at_once_ends_the_program(); /* and nothing after it */
    return 0;
}
