/*
 * A program's view of the machine with a network: system calls by name, memory of its own, and the network set up.
 */
#ifndef PROGRAM_H
#define PROGRAM_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "../nano/check.h"
#include "hal/clock.h"
#include "hal/driver.h"
#include "hal/memory.h"
#include "host.h"
#include "nano/init.h"
#include "nano/random.h"
#include "nano/settings.h"
#include "nano/signal.h"
#include "nano/thread.h"
#include "nano/user.h"
#include "nano/vfs.h"
#include "nano/vm.h"

/* Linux's headers and nano/errno.h agree; the program only meets the numbers. */
#define CALL(number, ...) call(number, (const uint64_t[6]){__VA_ARGS__})
#define MS 1000000ull
#define MEMORY (512u << 10)

static uintptr_t memory; /* the program's scratch: MEMORY bytes */

static inline int64_t call(uint64_t number, const uint64_t *a) {
    return host_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

static inline void start_machine(const char *settings, size_t size) {
    host_set_settings(settings, size);
    random_init();
    vfs_init();
    vfs_mount_all();
    vm_init();
    settings_init();
    initcalls_run(INIT_FILES);
    int64_t page = vm_map(0, MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE, NULL, 0, NULL);
    CHECK(page > 0);
    memory = (uintptr_t)page;
    EQUAL(clear_user(memory, MEMORY), 0);
}

static inline uintptr_t address4(uint32_t ip, uint16_t port) {
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(ip)};
    EQUAL(copy_to_user(memory, &in, sizeof in), 0);
    return memory;
}

static inline int64_t send_text(int fd, const char *text, int flags) {
    EQUAL(copy_to_user(memory + 4096, text, strlen(text)), 0);
    return CALL(SYS_sendto, (uint64_t)fd, memory + 4096, strlen(text), (uint64_t)flags);
}

/* Receives at most `size` bytes and compares them with `text`. */
static inline void expect(int fd, size_t size, int flags, const char *text) {
    char got[256] = {0};
    int64_t count = CALL(SYS_recvfrom, (uint64_t)fd, memory + 8192, size, (uint64_t)flags);
    EQUAL(count, strlen(text));
    EQUAL(copy_from_user(got, memory + 8192, (size_t)count), 0);
    if (memcmp(got, text, (size_t)count) != 0) {
        fprintf(stderr, "got '%s', not '%s'\n", got, text);
        exit(1);
    }
}

static inline int option(int fd, int level, int name) {
    int value = -1, size = sizeof value;
    EQUAL(copy_to_user(memory + 16, &size, sizeof size), 0);
    EQUAL(CALL(SYS_getsockopt, (uint64_t)fd, (uint64_t)level, (uint64_t)name, memory + 32, memory + 16), 0);
    EQUAL(copy_from_user(&value, memory + 32, sizeof value), 0);
    return value;
}

static inline int64_t set_option(int fd, int level, int name, int value) {
    EQUAL(copy_to_user(memory + 32, &value, sizeof value), 0);
    return CALL(SYS_setsockopt, (uint64_t)fd, (uint64_t)level, (uint64_t)name, memory + 32, sizeof value);
}

#endif
