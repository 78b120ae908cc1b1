#include "host.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "hal/boot.h"
#include "hal/clock.h"
#include "hal/driver.h"
#include "hal/kernel.h"
#include "hal/log.h"
#include "hal/memory.h"
#include "hal/random.h"
#include "hal/string.h"
#include "host_net.h"
#include "nano/page.h"
#include "nano/syscall.h"
#include "nano/thread.h"
#include "nano/vdso.h"

#define PHYSICAL_BASE 0x100000u
#define OUTPUT_SIZE 65536

jmp_buf host_end;
bool host_catches;
static unsigned exit_code;
void (*host_stuck)(void);

static uint8_t *ram;
static size_t ram_size;
static struct hal_region region;
static struct hal_boot boot = {.command_line = ""};
static void *initrd_copy;
static const void *settings;
static size_t settings_size;
static uint64_t now = 1000000, deadline = HAL_FOREVER, seed = 1;
static char console[OUTPUT_SIZE], control[OUTPUT_SIZE];
static size_t console_length, control_length;

const struct hal_boot *hal_boot(void) {
    return &boot;
}

const struct hal_region *hal_memory_regions(size_t *count) {
    *count = 1;
    return &region;
}

void hal_memory_ready(void) {
}

void *hal_phys_to_virt(hal_phys_t address) {
    return ram + (address - PHYSICAL_BASE);
}

hal_phys_t hal_virt_to_phys(const void *pointer) {
    return (hal_phys_t)((const uint8_t *)pointer - ram) + PHYSICAL_BASE;
}

static void append(char *buffer, size_t *length, const char *text, size_t size) {
    if (size > OUTPUT_SIZE - 1 - *length)
        size = OUTPUT_SIZE - 1 - *length;
    memcpy(buffer + *length, text, size);
    *length += size;
    buffer[*length] = '\0';
}

void hal_log(const char *text, size_t length) {
    append(console, &console_length, text, length);
}

void hal_control_send(const char *line) {
    append(control, &control_length, line, strlen(line));
    append(control, &control_length, "\n", 1);
}

const char *host_console(void) {
    return console;
}

const char *host_control(void) {
    return control;
}

unsigned host_exit_code(void) {
    return exit_code;
}

void host_clear_output(void) {
    console_length = control_length = 0;
    console[0] = control[0] = '\0';
}

HAL_NORETURN void hal_exit(unsigned code) {
    exit_code = code;
    if (host_catches)
        longjmp(host_end, 1);
    fprintf(stderr, "the machine ended:\n%s%s", console, control);
    abort();
}

HAL_NORETURN void hal_panic(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    if (host_catches)
        longjmp(host_end, 2);
    abort();
}

int64_t hal_settings_read(void *buffer, size_t size) {
    if (settings_size > size)
        return -HAL_ENOSPC;
    if (settings_size)
        memcpy(buffer, settings, settings_size);
    return (int64_t)settings_size;
}

void host_set_settings(const void *data, size_t size) {
    settings = data;
    settings_size = size;
}

void host_set_initrd(const void *data, size_t size) {
    free(initrd_copy);
    /* Exactly as long as the archive, so that a read beyond it is seen. */
    initrd_copy = size ? aligned_alloc(HAL_PAGE_SIZE, size + (HAL_PAGE_SIZE - size % HAL_PAGE_SIZE) % HAL_PAGE_SIZE) : NULL;
    if (size)
        memcpy(initrd_copy, data, size);
    boot.initrd = initrd_copy;
    boot.initrd_size = size;
}

void host_set_command_line(const char *line) {
    boot.command_line = line;
}

uint64_t hal_clock_monotonic(void) {
    return now;
}

int64_t hal_clock_wall_offset(void) {
    return 1700000000000000000;
}

bool hal_clock_counter(struct hal_clock_counter *counter) {
    (void)counter;
    return false;
}

void hal_timer_arm(uint64_t when) {
    deadline = when;
}

void host_advance(uint64_t nanoseconds) {
    now += nanoseconds;
}

/* The clock goes on to the next thing that happens: the timer, or a frame. */
void hal_idle(void) {
    uint64_t due = host_net_due(), next = due < deadline ? due : deadline;
    if (host_net_is_real_time()) {
        now++; /* no two moments of arrival are the same, so that a capture can be replayed */
        now += host_net_wait(next == HAL_FOREVER ? HAL_FOREVER : next > now ? next - now : 0);
    } else if (next == HAL_FOREVER) {
        if (!host_stuck) {
            fprintf(stderr, "every thread sleeps and no timer is armed\n");
            abort();
        }
        host_stuck();
        return;
    } else if (now < next) {
        now = next;
    }
    host_net_arrive();
    if (deadline > now)
        return;
    deadline = HAL_FOREVER;
    kernel_timer();
}

void hal_kick(void) {
}

unsigned long hal_irq_save(void) {
    return 0;
}

void hal_irq_restore(unsigned long state) {
    (void)state;
}

void host_seed(uint64_t value) {
    seed = value;
}

/* splitmix64. */
static uint64_t next_random(void) {
    uint64_t z = seed += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

size_t hal_random_hardware(void *buffer, size_t size) {
    for (size_t i = 0; i < size; i++)
        ((uint8_t *)buffer)[i] = (uint8_t)next_random();
    return size;
}

uint64_t hal_random_jitter(void) {
    return next_random();
}

uint64_t hal_hwcap(void) {
    return 0;
}

uint64_t hal_hwcap2(void) {
    return 0;
}

uintptr_t __stack_chk_guard; /* the kernel sets it; the C library has its own */

/* No counter that a program could read: no vDSO. */
void vdso_map(void) {
}

void vdso_update(void) {
}

void host_start(size_t memory) {
    if (ram)
        munmap(ram, ram_size);
    ram = mmap(NULL, memory, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (ram == MAP_FAILED)
        abort();
    ram_size = memory;
    region = (struct hal_region){PHYSICAL_BASE, memory};
    host_clear_output();
    host_forget_user();
    host_forget_registers();
    host_net_forget();
    hal_drivers_forget();
    page_init();
    static bool once;
    if (!once) {
        thread_init();
        syscall_init();
        once = true;
    }
}

int64_t host_syscall(uint64_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f) {
    struct hal_frame frame = {.arg = {a, b, c, d, e, f}, .error = number, .vector = HAL_VECTOR_SYSCALL};
    kernel_syscall(&frame);
    return (int64_t)frame.rax;
}

void host_run_until(uint64_t until) {
    while (now < until) {
        if (thread_block(until, false) != 0)
            return;
    }
}
