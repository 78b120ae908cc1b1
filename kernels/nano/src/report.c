/*
 * What is said of a crash: the program's registers, where it was and who called, the last system calls.
 *
 * Memory is read through the page tables and never faulted in. The names of functions come from the program's own symbol
 * table where it has one; where it is stripped, offsets of the file stand for the host to look up.
 */
#include "nano/report.h"

#include "hal/string.h"
#include "nano/print.h"
#include "nano/process.h"
#include "nano/syscall.h"
#include "nano/thread.h"
#include "nano/vfs.h"
#include "nano/vm.h"

#define MAX_DEPTH 24
#define SCANNED_WORDS 512 /* of the stack, where there are no frame pointers */
#define MAX_FOUND 12
#define SHT_SYMTAB 2
#define STT_FUNC 2
#define CHUNK 16 /* symbols read at a time */
#define MAX_NAME 64

struct section {
    uint32_t name, type;
    uint64_t flags, address, offset, size;
    uint32_t link, info;
    uint64_t alignment, entry_size;
};
struct symbol {
    uint32_t name;
    uint8_t info, other;
    uint16_t section;
    uint64_t value, size;
};

/* Bytes of the program that are in memory. False: not all of them are. */
static bool peek(uintptr_t address, void *to, size_t size) {
    for (size_t done = 0; done < size; done++) {
        hal_phys_t page;
        unsigned flags;
        uintptr_t at = address + done;
        if (at < HAL_USER_FIRST || !hal_user_lookup(at & ~HAL_PAGE_MASK, &page, &flags) || !(flags & HAL_USER_READ))
            return false;
        ((uint8_t *)to)[done] = ((const uint8_t *)hal_phys_to_virt(page))[at & HAL_PAGE_MASK];
    }
    return true;
}

static bool read_at(struct node *node, void *to, size_t size, uint64_t offset) {
    return node_read_kernel(node, to, size, offset) == (int64_t)size;
}

/* The section header of the program's symbol table, and of its strings. */
static bool find_symbols(struct node *node, struct section *symbols, struct section *strings) {
    uint64_t table;
    uint16_t shape[2]; /* size of a section header, their number */
    if (!read_at(node, &table, sizeof table, 40) || !read_at(node, shape, sizeof shape, 58) || shape[0] != sizeof *symbols)
        return false;
    for (unsigned i = 0; i < shape[1]; i++) {
        if (!read_at(node, symbols, sizeof *symbols, table + i * sizeof *symbols))
            return false;
        if (symbols->type == SHT_SYMTAB)
            return symbols->link < shape[1] && read_at(node, strings, sizeof *strings, table + symbols->link * sizeof *strings);
    }
    return false;
}

/* The function that holds an address of the program's file, as it was linked; its name, and how far into it. */
static bool find_name(uint64_t value, char name[MAX_NAME], uint64_t *within) {
    struct node *node = process.executable;
    struct section symbols, strings;
    struct symbol chunk[CHUNK], best = {0};
    if (!find_symbols(node, &symbols, &strings))
        return false;
    for (uint64_t at = 0; at + sizeof *chunk <= symbols.size; at += sizeof chunk) {
        uint64_t left = symbols.size - at, now = left < sizeof chunk ? left / sizeof *chunk : CHUNK;
        if (!read_at(node, chunk, now * sizeof *chunk, symbols.offset + at))
            return false;
        for (unsigned i = 0; i < now; i++)
            if ((chunk[i].info & 15) == STT_FUNC && chunk[i].section && chunk[i].value <= value && chunk[i].value >= best.value &&
                (chunk[i].size == 0 || value - chunk[i].value < chunk[i].size))
                best = chunk[i];
    }
    if (!best.name || best.name >= strings.size)
        return false;
    int64_t got = node_read_kernel(node, name, MAX_NAME - 1, strings.offset + best.name);
    if (got <= 0)
        return false;
    name[got] = '\0';
    *within = value - best.value;
    return true;
}

/* `exact`: the address itself; else the one to which a call returns, which lies behind the call. */
static void print_place(report_print *print, uintptr_t address, bool exact, bool guess) {
    char path[128], name[MAX_NAME];
    uint64_t within;
    const struct vma *area = vm_find(address);
    const char *mark = guess ? " ?" : "";
    bool named = area && area->node && !area->label && vfs_path(area->node, path, sizeof path) > 0;
    uint64_t offset = area ? address - area->start + area->page * HAL_PAGE_SIZE : 0;
    if (named && area->node == process.executable && find_name(address - process.bias - !exact, name, &within))
        print("  %016lx%s %s+0x%lx (%s+0x%lx)\n", address, mark, name, within + !exact, path, offset);
    else if (named)
        print("  %016lx%s %s+0x%lx\n", address, mark, path, offset);
    else
        print("  %016lx%s %s\n", address, mark, area && area->label ? area->label : "");
}

static bool is_code(uintptr_t address) {
    const struct vma *area = vm_find(address);
    return area && area->protection & PROT_EXEC;
}

/* Whether a CALL ends at the address: near relative (E8), or near indirect (FF /2) of two, three, six or seven bytes. */
static bool follows_call(uintptr_t address) {
    uint8_t bytes[7];
    static const uint8_t lengths[] = {2, 3, 6, 7};
    if (!is_code(address) || !peek(address - sizeof bytes, bytes, sizeof bytes))
        return false;
    bool found = bytes[2] == 0xe8;
    for (unsigned i = 0; i < sizeof lengths; i++)
        found |= bytes[7 - lengths[i]] == 0xff && (bytes[8 - lengths[i]] & 0x38) == 0x10;
    return found;
}

static unsigned walk_frames(report_print *print, const struct hal_frame *frame) {
    unsigned depth = 0;
    uintptr_t pointer = frame->rbp, words[2], top;
    /* A function that calls nobody need not have a frame: then what it returns to is at the top of the stack. */
    if (peek(frame->rsp, &top, sizeof top) && follows_call(top) && peek(pointer, words, sizeof words) && words[1] != top && is_code(words[1]))
        print_place(print, top, false, true);
    while (depth < MAX_DEPTH && !(pointer & 7) && peek(pointer, words, sizeof words) && is_code(words[1])) {
        print_place(print, words[1], false, false);
        depth++;
        if (words[0] <= pointer)
            break;
        pointer = words[0];
    }
    return depth;
}

static void scan_stack(report_print *print, uintptr_t stack) {
    uintptr_t word;
    unsigned found = 0;
    stack &= ~(uintptr_t)7;
    for (unsigned i = 0; i < SCANNED_WORDS && found < MAX_FOUND && peek(stack + i * sizeof word, &word, sizeof word); i++)
        if (follows_call(word)) {
            print_place(print, word, false, true);
            found++;
        }
}

void report_program(report_print *print, const struct hal_frame *frame) {
    print("The program's registers:\n");
    print("rip %016lx rsp %016lx rflags 0x%lx\n", frame->rip, frame->rsp, frame->rflags);
    print("rax %016lx rbx %016lx rcx %016lx rdx %016lx\n", frame->rax, frame->rbx, frame->rcx, frame->arg[2]);
    print("rsi %016lx rdi %016lx rbp %016lx r8  %016lx\n", frame->arg[1], frame->arg[0], frame->rbp, frame->arg[4]);
    print("r9  %016lx r10 %016lx r11 %016lx r12 %016lx\n", frame->arg[5], frame->arg[3], frame->r11, frame->r12);
    print("r13 %016lx r14 %016lx r15 %016lx\n", frame->r13, frame->r14, frame->r15);
    print("Backtrace of the program (? : a guess from its stack):\n");
    print_place(print, frame->rip, true, false);
    if (walk_frames(print, frame) < 2)
        scan_stack(print, frame->rsp);
}

void report_calls(report_print *print) {
    struct past_call call;
    for (unsigned i = 0; syscall_past(i, &call); i++) {
        const char *name = syscall_name(call.number);
        if (i == 0)
            print("The last system calls:\n");
        print("  thread %u %s = %ld\n", call.tid, name ? name : "?", call.result);
    }
}

void kernel_crash_report(report_print *print, const struct hal_frame *frame) {
    if (!current)
        return;
    print("Thread: %s %d\n", current->in_program ? "of the program," : current->name, current->tid);
    /* Unless the crash itself interrupted the program, its registers are where it entered the kernel. */
    if (current->in_program)
        report_program(print, frame ? frame : (const struct hal_frame *)((uintptr_t)current->stack + THREAD_STACK_SIZE) - 1);
    report_calls(print);
}
