#include "nano/syscall.h"

#include "hal/kernel.h"
#include "nano/errno.h"
#include "nano/print.h"
#include "nano/thread.h"

#define NUMBERS 512
#define HISTORY 16

extern const struct syscall_row syscalls_begin[], syscalls_end[];

static syscall_fn *table[NUMBERS];
static uint64_t missing_logged[NUMBERS / 64];
static struct past_call history[HISTORY]; /* for the crash report */
static unsigned history_next;

void syscall_init(void) {
    for (const struct syscall_row *row = syscalls_begin; row < syscalls_end; row++)
        table[row->number] = row->call;
}

int64_t syscall_missing(uint64_t number) {
    if (number < NUMBERS && !(missing_logged[number / 64] >> (number % 64) & 1)) {
        missing_logged[number / 64] |= 1ull << (number % 64);
        const char *name = syscall_name(number);
        const char *part = syscall_part(number);
        if (part)
            kprintf("nano: the program called %s (%lu), which is left out of this kernel: ENOSYS. 'needs: [%s]' in its component brings it\n",
                    name, number, part);
        else
            kprintf("nano: the program called %s (%lu), which this kernel does not have: ENOSYS\n", name ? name : "an unknown system call",
                    number);
    }
    return -ENOSYS;
}

void kernel_syscall(struct hal_frame *frame) {
    uint64_t number = frame->error;
    current->frame = frame;
    current->syscall_number = number;
    syscall_fn *call = number < NUMBERS ? table[number] : NULL;
    int64_t result = call ? call(frame->arg) : syscall_missing(number);
    unsigned slot = history_next++ % HISTORY;
    history[slot].number = (uint16_t)number;
    history[slot].tid = (uint16_t)current->tid;
    history[slot].result = result;
    frame->rax = (uint64_t)result;
}

bool syscall_past(unsigned index, struct past_call *call) {
    unsigned count = history_next < HISTORY ? history_next : HISTORY;
    if (index >= count)
        return false;
    *call = history[(history_next - count + index) % HISTORY];
    return true;
}
