/*
 * Sequences of system calls: each takes a byte for the call and a byte for each argument, which chooses among values that
 * tend to hurt. Sockets are among them, with the loopback device. A call that takes long, in virtual time, is interrupted by
 * SIGKILL, the only signal that no call before it can have blocked or ignored.
 */
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "fuzz.h"
#include "nano/init.h"
#include "nano/random.h"
#include "nano/settings.h"
#include "nano/signal.h"
#include "nano/signal_state.h"
#include "nano/syscall.h"
#include "nano/timer.h"

#define PATIENCE 20000000000ull /* ns of a call */

extern const struct syscall_row syscalls_begin[], syscalls_end[];

static uintptr_t scratch;
static struct patience {
    struct timer timer;
    struct thread *thread;
} patience;

static void interrupt(struct timer *timer) {
    struct thread *thread = CONTAINER(timer, struct patience, timer)->thread;
    thread->pending |= SIGNAL_BIT(SIGKILL);
    thread_wake(thread);
}

/* What the arguments may point to: paths, addresses, a message with its pieces. */
static void fill_scratch(void) {
    static const char paths[] = "/tmp/a\0/tmp/b\0/dev/zero\0/proc/self/maps\0.\0..\0/proc/self/fd";
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(5000), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(5000), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    struct iovec pieces[2] = {{(void *)(scratch + 4096), 100}, {(void *)(scratch + 8192), 3000}};
    struct msghdr message = {.msg_name = (void *)(scratch + 512), .msg_namelen = sizeof in, .msg_iov = (void *)(scratch + 704), .msg_iovlen = 2};
    copy_to_user(scratch, paths, sizeof paths);
    copy_to_user(scratch + 512, &in, sizeof in);
    copy_to_user(scratch + 576, &in6, sizeof in6);
    copy_to_user(scratch + 640, &message, sizeof message);
    copy_to_user(scratch + 704, pieces, sizeof pieces);
}

static uint64_t argument(uint8_t choice) {
    static const uint64_t hard[] = {0, 1, 2, 3, 4, 5, 7, 8, 16, 63, 64, 100, 255, 256, 1023, 1024, 4095, 4096, 4097, 8192, 65536, 0x7fffffff,
                                    0x80000000, 0xffffffff, 0x7fffffffffffffff, 0x8000000000000000, ~0ull, ~0ull - 4095, 0x7ffffffff000, 0x10000};
    if (choice < sizeof hard / sizeof hard[0])
        return hard[choice];
    if (choice < 64)
        return choice - 40u + 0; /* small numbers and descriptors */
    if (choice < 96)
        return 1ull << (choice - 64);
    return scratch + (uint64_t)(choice - 96) * 64;
}

/* Those that end the program, or wait by computing. */
static bool excluded(uint64_t number) {
    return number == 60 || number == 231 || number == 15 || number == 56 || number == 435 || number == 24;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char settings[] = "schema=1";
    static bool started;
    if (!started) {
        host_start((size_t)32 << 20);
        vfs_init();
        vfs_mount_all();
        vm_init();
        current->in_program = true;
        current->context.fpu = calloc(1, 512);
        current->tid = 2;
        process.threads = 1;
        host_set_settings(settings, sizeof settings);
        random_init();
        settings_init();
        initcalls_run(INIT_FILES);
        timer_init(&patience.timer, interrupt);
        patience.thread = current;
        started = true;
    }
    RUN({
        int64_t at = vm_map(0, 16384, PROT_READ | PROT_WRITE, MAP_PRIVATE, NULL, 0, NULL);
        if (at > 0) {
            scratch = (uintptr_t)at;
            fill_scratch();
            uint64_t count = (uint64_t)(syscalls_end - syscalls_begin);
            for (unsigned calls = 0; size >= 7 && calls < 64; data += 7, size -= 7, calls++) {
                uint64_t number = syscalls_begin[data[0] % count].number;
                if (excluded(number))
                    continue;
                timer_arm(&patience.timer, deadline_after(PATIENCE));
                host_syscall(number, argument(data[1]), argument(data[2]), argument(data[3]), argument(data[4]), argument(data[5]), argument(data[6]));
                timer_cancel(&patience.timer);
                current->pending = 0;
                current->restore_blocked = false;
            }
        }
    });
    timer_cancel(&patience.timer);
    current->state = THREAD_RUNNING;
    current->pending = current->blocked = 0;
    process.ending = true; /* a socket that lingers would wait for a peer that reads no more */
    fd_close_all();
    process.ending = false;
    vm_unmap(HAL_USER_FIRST, HAL_USER_END - 4096 - HAL_USER_FIRST);
    struct node *node;
    if (vfs_lookup(vfs_root, "/", 0, &node, NULL) == 0) {
        node_put(process.directory);
        process.directory = node;
    }
    host_clear_output();
    return 0;
}
