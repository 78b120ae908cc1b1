/*
 * The crash report: why, registers, a symbolised backtrace, the last system calls; then the end of the machine.
 *
 * The symbol table, made after the first of two links: uint32 count; count offsets from the image's begin, ascending;
 * then as many names, each ended by NUL.
 */
#include "hal/boot.h"
#include "hal/kernel.h"
#include "hal/log.h"
#include "hal/string.h"
#include "pvh.h"

#define MAX_DEPTH 32
#define PVPANIC 0x505

extern const uint32_t pvh_symbols[];
extern char image_begin[], text_end[];

static unsigned crashes;

static void print(const char *format, ...) HAL_PRINTF(1, 2);
static void print(const char *format, ...) {
    char line[256];
    va_list arguments;
    va_start(arguments, format);
    size_t length = hal_vformat(line, sizeof line, format, arguments);
    va_end(arguments);
    hal_log(line, length < sizeof line ? length : sizeof line - 1);
}

/* The function that holds `address`, and its begin. NULL: none known. */
static const char *symbol(uintptr_t address, uintptr_t *begin) {
    uint32_t count = pvh_symbols[0];
    if (address < (uintptr_t)image_begin || address >= (uintptr_t)text_end || count == 0)
        return NULL;
    uint32_t offset = (uint32_t)(address - (uintptr_t)image_begin), index = 0;
    while (index + 1 < count && pvh_symbols[1 + index + 1] <= offset)
        index++;
    if (pvh_symbols[1 + index] > offset)
        return NULL;
    const char *name = (const char *)(pvh_symbols + 1 + count);
    for (uint32_t i = 0; i < index; i++)
        name += strlen(name) + 1;
    *begin = (uintptr_t)image_begin + pvh_symbols[1 + index];
    return name;
}

static void print_place(uintptr_t address) {
    uintptr_t begin;
    const char *name = symbol(address, &begin);
    if (name)
        print("  %016lx %s+0x%lx\n", address, name, address - begin);
    else
        print("  %016lx\n", address);
}

static void backtrace(uintptr_t frame_pointer) {
    for (unsigned depth = 0; depth < MAX_DEPTH && frame_pointer; depth++) {
        if (frame_pointer & 7 || frame_pointer < PVH_DIRECT_BASE || !pvh_mmu_readable(frame_pointer) ||
            !pvh_mmu_readable(frame_pointer + 15))
            break;
        const uintptr_t *words = (const uintptr_t *)frame_pointer;
        if (!words[1])
            break;
        print_place(words[1]);
        if (words[0] <= frame_pointer)
            break;
        frame_pointer = words[0];
    }
}

static void registers(const struct hal_frame *f) {
    print("rip %016lx rsp %016lx rflags 0x%lx\n", f->rip, f->rsp, f->rflags);
    print("rax %016lx rbx %016lx rcx %016lx rdx %016lx\n", f->rax, f->rbx, f->rcx, f->arg[2]);
    print("rsi %016lx rdi %016lx rbp %016lx r8  %016lx\n", f->arg[1], f->arg[0], f->rbp, f->arg[4]);
    print("r9  %016lx r10 %016lx r11 %016lx r12 %016lx\n", f->arg[5], f->arg[3], f->r11, f->r12);
    print("r13 %016lx r14 %016lx r15 %016lx\n", f->r13, f->r14, f->r15);
}

static HAL_NORETURN void finish(const char *why) {
    char line[256];
    print("Panic: %s\n", why);
    hal_format(line, sizeof line, "panic %s", why);
    hal_control_send(line);
    outb(PVPANIC, 1); /* nobody there without the device */
    hal_exit(HAL_EXIT_PANIC);
}

/* What is broken may break the report, too: the second time only the end is said. */
static void once(void) {
    if (crashes++ == 0)
        return;
    if (crashes == 2)
        finish("The kernel crashed again while it reported a crash.");
    hal_exit(HAL_EXIT_PANIC);
}

HAL_NORETURN void pvh_crash(const struct hal_frame *frame, uintptr_t address, const char *why) {
    once();
    print("\nThe kernel crashed. %s\n", why);
    print("vector %lu error 0x%lx address 0x%lx\n", frame->vector, frame->error, address);
    bool in_program = frame->cs & 3;
    if (!in_program) {
        registers(frame);
        print("Backtrace:\n");
        print_place(frame->rip);
        backtrace(frame->rbp);
    }
    kernel_crash_report(print, in_program ? frame : NULL);
    finish(why);
}

HAL_NORETURN void hal_panic(const char *format, ...) {
    once();
    char why[200];
    va_list arguments;
    va_start(arguments, format);
    hal_vformat(why, sizeof why, format, arguments);
    va_end(arguments);
    print("\nThe kernel stops. %s\nBacktrace:\n", why);
    backtrace((uintptr_t)__builtin_frame_address(0));
    kernel_crash_report(print, NULL);
    finish(why);
}
