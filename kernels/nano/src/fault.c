/*
 * Faults of the program: which signal they are, and what is said of them.
 */
#include "hal/kernel.h"
#include "nano/errno.h"
#include "nano/print.h"
#include "nano/process.h"
#include "nano/program.h"
#include "nano/signal.h"
#include "nano/user.h"
#include "nano/vfs.h"
#include "nano/vm.h"

#define MAX_DEPTH 24
#define SEGV_MAPERR 1
#define SEGV_ACCERR 2
#define BUS_ADRERR 2
#define SI_KERNEL 0x80

static void print_place(uintptr_t address) {
    char path[128];
    const struct vma *area = vm_find(address);
    if (area && area->node && vfs_path(area->node, path, sizeof path) > 0)
        kprintf("  %016lx %s+0x%lx\n", address, path, address - area->start + area->page * HAL_PAGE_SIZE);
    else
        kprintf("  %016lx %s\n", address, area && area->label ? area->label : "");
}

/* By frame pointers; programs without them give the first line only. */
void program_backtrace(const struct hal_frame *frame) {
    kprintf("nano: backtrace of the program (offsets are of its file):\n");
    print_place(frame->rip);
    uintptr_t pointer = frame->rbp;
    for (unsigned depth = 0; depth < MAX_DEPTH; depth++) {
        uintptr_t words[2];
        if (pointer & 7 || !vm_find(pointer) || copy_from_user(words, pointer, sizeof words) != 0 || !vm_find(words[1]))
            break;
        print_place(words[1]);
        if (words[0] <= pointer)
            break;
        pointer = words[0];
    }
}

void kernel_user_fault(struct hal_frame *frame, uintptr_t address) {
    switch (frame->vector) {
    case 0:
        signal_fault(frame, SIGFPE, 1, frame->rip); /* FPE_INTDIV */
        return;
    case 1:
    case 3:
        signal_fault(frame, SIGTRAP, frame->vector == 1 ? 2 : SI_KERNEL, frame->rip);
        return;
    case 6:
        signal_fault(frame, SIGILL, 2, frame->rip); /* ILL_ILLOPN */
        return;
    case 14: {
        const struct vma *area = vm_find(address);
        bool allowed = area && (!(frame->error & 2) || area->protection & PROT_WRITE) && (!(frame->error & 16) || area->protection & PROT_EXEC) &&
                       area->protection;
        if (allowed && area->node)
            signal_fault(frame, SIGBUS, BUS_ADRERR, address);
        else
            signal_fault(frame, SIGSEGV, area ? SEGV_ACCERR : SEGV_MAPERR, address);
        return;
    }
    case 16:
    case 19:
        signal_fault(frame, SIGFPE, 7, frame->rip); /* FPE_FLTINV */
        return;
    case 17:
        signal_fault(frame, SIGBUS, 1, 0); /* BUS_ADRALN */
        return;
    default:
        signal_fault(frame, SIGSEGV, SI_KERNEL, 0);
    }
}
