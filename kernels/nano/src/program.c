#include "nano/program.h"

#include "hal/boot.h"
#include "hal/clock.h"
#include "hal/kernel.h"
#include "hal/memory.h"
#include "hal/string.h"
#include "nano/elf.h"
#include "nano/errno.h"
#include "nano/file.h"
#include "nano/heap.h"
#include "nano/page.h"
#include "nano/print.h"
#include "nano/process.h"
#include "nano/random.h"
#include "nano/settings.h"
#include "nano/signal.h"
#include "nano/thread.h"
#include "nano/timer.h"
#include "nano/vdso.h"
#include "nano/vfs.h"
#include "nano/vm.h"

#define MAX_STRINGS 4096
#define STRINGS_LIMIT ((size_t)1 << 20)

enum { AT_NULL, AT_PHDR = 3, AT_PHENT, AT_PHNUM, AT_PAGESZ, AT_BASE, AT_FLAGS, AT_ENTRY, AT_UID = 11, AT_EUID, AT_GID, AT_EGID,
       AT_PLATFORM, AT_HWCAP, AT_CLKTCK, AT_SECURE = 23, AT_RANDOM = 25, AT_HWCAP2, AT_EXECFN = 31, AT_SYSINFO_EHDR = 33 };

struct process process = {.umask = 022, .hostname = "rumpel"};

#define LOST_DEADLINE_NS 10000000000ull

static char lost[200]; /* which device is gone; empty: none */

const char *program_start_line = "start";

HAL_NORETURN void program_fail(enum program_failure code, const char *format, ...) {
    char line[256];
    size_t length = hal_format(line, sizeof line, "fail ");
    va_list arguments;
    va_start(arguments, format);
    hal_vformat(line + length, sizeof line - length, format, arguments);
    va_end(arguments);
    /* What the line quotes may hold a newline, which would begin a line of its own. */
    for (char *at = line; *at; at++)
        if (*at < ' ' && *at >= 0)
            *at = '?';
    kprintf("nano: %s\n", line + length);
    hal_control_send(line);
    hal_exit(code);
}

static HAL_NORETURN void end(int status, unsigned code) {
    char line[32];
    process.ending = true;
    fd_close_all();
    if (lost[0])
        program_fail(FAIL_DEVICE, "%s", lost);
    hal_format(line, sizeof line, "exit %d", status & 255);
    hal_control_send(line);
    hal_exit(code);
}

HAL_NORETURN void program_exit(int status) {
    end(status, HAL_EXIT_PROGRAM);
}

static void lost_expired(struct timer *timer) {
    (void)timer;
    program_fail(FAIL_DEVICE, "%s", lost);
}

void program_device_lost(const char *format, ...) {
    static struct timer deadline = {.link = LIST_INIT(deadline.link), .expired = lost_expired};
    if (lost[0])
        return;
    va_list arguments;
    va_start(arguments, format);
    hal_vformat(lost, sizeof lost, format, arguments);
    va_end(arguments);
    if (process.threads == 0)
        program_fail(FAIL_DEVICE, "%s", lost);
    kprintf("nano: %s The program is asked to end.\n", lost);
    struct siginfo info = {.signo = SIGTERM, .code = 0x80}; /* SI_KERNEL */
    signal_send_program(&info);
    timer_arm(&deadline, deadline_after(LOST_DEADLINE_NS));
}

static void report_memory(const char *why, int signal) {
    kprintf("nano: %s; it was killed by signal %d. Memory: %lu KiB in use by its pages, %lu KiB free of %lu KiB.\n", why, signal,
            vm_resident_pages() * 4, page_available() * 4, page_total() * 4);
}

HAL_NORETURN void program_killed(int signal, const char *format, ...) {
    char why[200];
    va_list arguments;
    va_start(arguments, format);
    hal_vformat(why, sizeof why, format, arguments);
    va_end(arguments);
    report_memory(why, signal);
    end(128 + signal, HAL_EXIT_PROGRAM);
}

HAL_NORETURN void program_out_of_memory(void) {
    report_memory("The program has used up the machine's memory", SIGKILL);
    end(128 + SIGKILL, FAIL_MEMORY);
}

/* Builds the first stack from its top downwards (System V ABI x86-64, section 3.4.1). */
struct builder {
    uintptr_t at;
    bool failed;
};

static uintptr_t push_bytes(struct builder *stack, const void *bytes, size_t size) {
    stack->at -= size;
    stack->failed |= copy_to_user(stack->at, bytes, size) != 0;
    return stack->at;
}

static uintptr_t push_string(struct builder *stack, const char *text) {
    return push_bytes(stack, text, strlen(text) + 1);
}

static uintptr_t build_stack(const char *path, const struct elf_image *image) {
    uintptr_t *words = kcalloc(MAX_STRINGS + 64, sizeof *words);
    if (!words)
        program_fail(FAIL_MEMORY, "The machine has too little memory for the program's arguments.");
    struct builder stack = {vm_stack_top(), false};
    size_t count = 0, total = 0;
    const char *value;
    push_bytes(&stack, &(uint64_t){0}, 8);
    uintptr_t name = push_string(&stack, path);
    uint8_t seed[16];
    random_bytes(seed, sizeof seed);
    uintptr_t random = push_bytes(&stack, seed, sizeof seed);
    uintptr_t platform = push_string(&stack, "x86_64");
    process.environment_end = stack.at;
    /* Strings lie in descending addresses here; argv and envp are in order, which is all that is promised. */
    words[count++] = 0;
    words[count++] = push_string(&stack, path);
    size_t argument_count = 1;
    for (size_t i = 0; (value = settings_each("arg", i)) && count < MAX_STRINGS / 2 && total < STRINGS_LIMIT; i++) {
        words[count++] = push_string(&stack, value);
        total += strlen(value);
        argument_count++;
    }
    words[0] = argument_count;
    words[count++] = 0;
    for (size_t i = 0; (value = settings_each("env", i)) && count < MAX_STRINGS && total < STRINGS_LIMIT; i++) {
        words[count++] = push_string(&stack, value);
        total += strlen(value);
    }
    words[count++] = 0;
    const uintptr_t vector[][2] = {
        {AT_SYSINFO_EHDR, process.vdso}, {AT_PHDR, image->headers}, {AT_PHENT, 56}, {AT_PHNUM, image->header_count},
        {AT_PAGESZ, PAGE_SIZE}, {AT_BASE, 0}, {AT_FLAGS, 0}, {AT_ENTRY, image->entry}, {AT_UID, 0}, {AT_EUID, 0}, {AT_GID, 0},
        {AT_EGID, 0}, {AT_SECURE, 0}, {AT_CLKTCK, 100}, {AT_HWCAP, hal_hwcap()}, {AT_HWCAP2, hal_hwcap2()}, {AT_RANDOM, random},
        {AT_EXECFN, name}, {AT_PLATFORM, platform}, {AT_NULL, 0}};
    for (size_t i = process.vdso ? 0 : 1; i < sizeof vector / sizeof vector[0]; i++) {
        words[count++] = vector[i][0];
        words[count++] = vector[i][1];
    }
    process.arguments = stack.at;
    stack.at = (stack.at - count * sizeof *words) & ~(uintptr_t)15;
    stack.failed |= copy_to_user(stack.at, words, count * sizeof *words) != 0;
    kfree(words);
    if (stack.failed)
        program_fail(FAIL_PROGRAM, "The program's arguments do not fit on its stack.");
    return stack.at;
}

static void open_console(void) {
    struct file *file;
    if (vfs_open(vfs_root, "/dev/console", O_RDWR, 0, &file) != 0)
        program_fail(FAIL_PROGRAM, "There is no /dev/console.");
    for (int i = 0; i < 3; i++)
        if (fd_install(file_get(file), i, false) != i)
            program_fail(FAIL_MEMORY, "The machine has too little memory for the console.");
    file_put(file);
}

static int64_t parse_number(const char *text) {
    bool negative = *text == '-';
    int64_t value = 0;
    for (text += negative; *text >= '0' && *text <= '9' && value < INT64_MAX / 20; text++)
        value = value * 10 + (*text - '0');
    return negative ? -value : value;
}

void program_start(void) {
    const char *path = settings_get("program"), *why;
    if (!path)
        program_fail(FAIL_SETTINGS, "The settings name no program.");
    if (settings_get("hostname"))
        hal_format(process.hostname, sizeof process.hostname, "%s", settings_get("hostname"));
    if (settings_get("clock"))
        process.clock_offset = parse_number(settings_get("clock")) * 1000000000;
    if (!random_seeded())
        program_fail(FAIL_RANDOMNESS, "The machine has no source of randomness: no virtio-rng device, and a CPU without RDSEED and RDRAND.");
    if (settings_get("root") && strcmp(vfs_root->filesystem->type, "rootfs") == 0)
        program_fail(FAIL_SETTINGS, "The setting 'root' says that the root filesystem is on a disk, but this kernel has no part 'root-disk'.");
    struct node *node;
    int status = vfs_lookup(vfs_root, path, 0, &node, NULL);
    if (status != 0)
        program_fail(FAIL_PROGRAM, "The program '%s' is not in the root filesystem.", path);
    vm_init();
    struct elf_image image;
    status = elf_load(node, &image, &why);
    if (status != 0)
        program_fail(status == -ENOMEM ? FAIL_MEMORY : FAIL_PROGRAM, "The program '%s' cannot be run: %s.", path, status == -ENOMEM ? "the machine has too little memory" : why);
    process.executable = node;
    process.bias = image.bias;
    const char *base = strrchr(path, '/');
    hal_format(process.name, sizeof process.name, "%s", base ? base + 1 : path);
    vm_set_break(image.end + (random_u64() & 0x1fff) * PAGE_SIZE);
    uintptr_t top = vm_stack_top();
    if (vm_map(top - VM_STACK_SIZE, VM_STACK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, NULL, 0, "[stack]") < 0)
        program_fail(FAIL_MEMORY, "The machine has too little memory for the program's stack.");
    vdso_map();
    open_console();
    process.started = hal_clock_monotonic();
    struct hal_frame frame;
    hal_frame_init(&frame, image.entry, build_stack(path, &image));
    struct thread *thread = thread_create_program(&frame, thread_new_tid());
    if (!thread)
        program_fail(FAIL_MEMORY, "The machine has too little memory for the program's first thread.");
    process.threads = 1;
    hal_control_send(program_start_line);
    thread_wake(thread);
}

static bool read_hexadecimal(const char *digits, uint8_t *bytes, size_t size) {
    for (size_t i = 0; i < 2 * size; i++) {
        static const char alphabet[] = "0123456789abcdef";
        const char *digit = digits[i] ? strchr(alphabet, digits[i]) : NULL;
        if (!digit)
            return false;
        bytes[i / 2] = (uint8_t)(bytes[i / 2] << 4 | (digit - alphabet));
    }
    return digits[2 * size] == '\0';
}

/*
 * `renew NS SEED`: other machines go on from the state that this one goes on from. NS is the wall clock, in nanoseconds
 * since 1970; SEED are 32 bytes in hexadecimal that no other machine gets.
 */
static bool renew(const char *words) {
    uint64_t ns = 0;
    uint32_t seed[8];
    size_t at = 0;
    for (; words[at] >= '0' && words[at] <= '9' && at < 19; at++)
        ns = ns * 10 + (uint64_t)(words[at] - '0');
    if (at == 0 || ns > INT64_MAX || words[at] != ' ' || !read_hexadecimal(words + at + 1, (uint8_t *)seed, sizeof seed))
        return false;
    random_mix(seed);
    memset(seed, 0, sizeof seed);
    process.clock_offset += (int64_t)ns - vfs_now();
    vdso_update();
    return true;
}

void kernel_control(const char *line) {
    if (strncmp(line, "renew ", 6) == 0) {
        if (renew(line + 6))
            hal_control_send("renewed");
        return;
    }
    /* `stop` or `stop SECONDS`: the host ends the machine when the time is over, so it is not counted here too. */
    if (strncmp(line, "stop", 4) != 0 || (line[4] != '\0' && line[4] != ' '))
        return;
    struct siginfo info = {.signo = SIGTERM, .code = 0x80}; /* SI_KERNEL */
    signal_send_program(&info);
}
