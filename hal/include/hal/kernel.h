/*
 * What the kernel provides to the platform. All of these are called with interrupts closed.
 */
#ifndef HAL_KERNEL_H
#define HAL_KERNEL_H

#include "hal/base.h"
#include "hal/cpu.h"

/* The kernel's life, on the boot stack. Called once. */
HAL_LANDMARK HAL_NORETURN void kernel_main(void);

/* One page of memory (not cleared), 0 where there is none: for page tables and stacks. */
hal_phys_t kernel_page_alloc(void);
void kernel_page_free(hal_phys_t page);

/* A system call of the program; the result goes to frame->rax. May block and switch threads. */
void kernel_syscall(struct hal_frame *frame);
/*
 * An access by the program, or by hal_user_read/write for it, to `address` was not allowed by the page tables. True: the
 * mapping was made or changed, try again. May block.
 */
bool kernel_page_fault(uintptr_t address, bool write, bool execute);
/* A fault of the program that kernel_page_fault() did not cure, or another exception in ring 3. Ends or signals it. */
void kernel_user_fault(struct hal_frame *frame, uintptr_t address);
/* The timer asked for by hal_timer_arm() is due. Interrupt context: must not block. */
void kernel_timer(void);
/* About to return to the program from a system call, trap or interrupt: scheduling, signals. May block. */
void kernel_return_to_user(struct hal_frame *frame);

/* A line from the host on the control channel. Interrupt context. */
void kernel_control(const char *line);

/*
 * More for a crash report, by hal_panic()'s printing function: which thread ran, where the program is, the last system
 * calls. `frame`: the program's registers, where the crash itself interrupted the program; else NULL.
 */
void kernel_crash_report(void (*print)(const char *format, ...), const struct hal_frame *frame);

#endif
