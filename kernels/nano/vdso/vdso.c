/*
 * The vDSO's code: runs in ring 3, mapped into the program. vdso(7).
 */
#include "vdso.h"

#define NS 1000000000
#define HIDDEN __attribute__((visibility("hidden")))

struct timespec {
    int64_t seconds, nanoseconds;
};
struct timeval {
    int64_t seconds, microseconds;
};

enum { CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_MONOTONIC_RAW = 4, CLOCK_REALTIME_COARSE, CLOCK_MONOTONIC_COARSE, CLOCK_BOOTTIME };

extern const volatile struct vdso_data vdso_data HIDDEN;

int __vdso_clock_gettime(int id, struct timespec *time);
int __vdso_gettimeofday(struct timeval *time, void *zone);
int64_t __vdso_time(int64_t *time);
int __vdso_getcpu(unsigned *cpu, unsigned *node, void *unused);

static uint64_t read_tsc(void) {
    uint32_t low, high;
    __asm__ volatile("lfence; rdtsc" : "=a"(low), "=d"(high) : : "memory");
    return (uint64_t)high << 32 | low;
}

static int64_t now(int wall) {
    uint32_t sequence;
    int64_t ns;
    do {
        while ((sequence = vdso_data.sequence) & 1)
            ;
        __asm__ volatile("" : : : "memory");
        uint64_t ticks = read_tsc() - vdso_data.base_tsc;
        ns = (int64_t)(vdso_data.base_ns + (uint64_t)((unsigned __int128)ticks * vdso_data.mult >> vdso_data.shift));
        if (wall)
            ns += vdso_data.wall_offset;
        __asm__ volatile("" : : : "memory");
    } while (vdso_data.sequence != sequence);
    return ns;
}

int __vdso_clock_gettime(int id, struct timespec *time) {
    int wall = id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE;
    if (!wall && id != CLOCK_MONOTONIC && id != CLOCK_MONOTONIC_RAW && id != CLOCK_MONOTONIC_COARSE && id != CLOCK_BOOTTIME) {
        int64_t result;
        __asm__ volatile("syscall" : "=a"(result) : "a"(228L), "D"((long)id), "S"(time) : "rcx", "r11", "memory");
        return (int)result;
    }
    int64_t ns = now(wall);
    time->seconds = ns / NS;
    time->nanoseconds = ns % NS;
    return 0;
}

int __vdso_gettimeofday(struct timeval *time, void *zone) {
    if (time) {
        int64_t ns = now(1);
        time->seconds = ns / NS;
        time->microseconds = ns % NS / 1000;
    }
    if (zone)
        *(uint64_t *)zone = 0;
    return 0;
}

int64_t __vdso_time(int64_t *time) {
    int64_t seconds = now(1) / NS;
    if (time)
        *time = seconds;
    return seconds;
}

int __vdso_getcpu(unsigned *cpu, unsigned *node, void *unused) {
    (void)unused;
    if (cpu)
        *cpu = 0;
    if (node)
        *node = 0;
    return 0;
}
