/*
 * Faults of the program: which signal they are, and what is said of them.
 */
#include "hal/kernel.h"
#include "nano/errno.h"
#include "nano/signal.h"
#include "nano/vm.h"

#define SEGV_MAPERR 1
#define SEGV_ACCERR 2
#define BUS_ADRERR 2
#define SI_KERNEL 0x80

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
