/*
 * Sequences of system calls: each takes a byte for the call and a byte for each argument, which chooses among values that
 * tend to hurt. A call that would sleep for ever is interrupted by a signal.
 */
#include "fuzz.h"
#include "nano/syscall.h"

extern const struct syscall_row syscalls_begin[], syscalls_end[];

static uintptr_t scratch;

static void interrupt(void) {
    current->pending |= 1ull << 14;
    thread_wake(current);
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
        host_stuck = interrupt;
        started = true;
    }
    RUN({
        int64_t at = vm_map(0, 16384, PROT_READ | PROT_WRITE, MAP_PRIVATE, NULL, 0, NULL);
        if (at > 0) {
            static const char path[] = "/tmp/a\0/tmp/b\0/dev/zero\0/proc/self/maps\0.\0..\0/proc/self/fd";
            scratch = (uintptr_t)at;
            copy_to_user(scratch, path, sizeof path);
            uint64_t count = (uint64_t)(syscalls_end - syscalls_begin);
            for (unsigned calls = 0; size >= 7 && calls < 64; data += 7, size -= 7, calls++) {
                uint64_t number = syscalls_begin[data[0] % count].number;
                if (!excluded(number))
                    host_syscall(number, argument(data[1]), argument(data[2]), argument(data[3]), argument(data[4]), argument(data[5]), argument(data[6]));
                current->pending = 0;
                current->restore_blocked = false;
            }
        }
    });
    current->state = THREAD_RUNNING;
    current->pending = current->blocked = 0;
    fd_close_all();
    vm_unmap(HAL_USER_FIRST, HAL_USER_END - 4096 - HAL_USER_FIRST);
    struct node *node;
    if (vfs_lookup(vfs_root, "/", 0, &node, NULL) == 0) {
        node_put(process.directory);
        process.directory = node;
    }
    host_clear_output();
    return 0;
}
