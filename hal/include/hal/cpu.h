/*
 * The CPU: threads of execution, the way into the program and back, interrupts.
 */
#ifndef HAL_CPU_H
#define HAL_CPU_H

#include "hal/base.h"

/*
 * The program's registers at a system call or trap, on the kernel stack of its thread. `arg` holds a system call's six
 * arguments in the order of the Linux ABI (rdi, rsi, rdx, r10, r8, r9).
 */
struct hal_frame {
    uint64_t r15, r14, r13, r12, rbp, rbx, r11, rcx, rax;
    uint64_t arg[6];
    uint64_t vector; /* HAL_VECTOR_SYSCALL, or the x86 vector */
    uint64_t error;  /* the trap's error code; for a system call its number */
    uint64_t rip, cs, rflags, rsp, ss;
};

#define HAL_VECTOR_SYSCALL 0x100

/* A thread's saved state while it does not run. Owned by the kernel's thread; the platform keeps its own notes inside. */
struct hal_context {
    void *stack_pointer;
    uintptr_t stack_top; /* where traps from the program begin */
    uint64_t fs_base, gs_base;
    void *fpu; /* hal_fpu_size() bytes, 64-aligned, or NULL for a kernel thread; owned by the kernel */
    bool user;
};

/* Bytes of a thread's floating point and vector state (XSAVE area), a multiple of 64. */
size_t hal_fpu_size(void);
/* Puts the state that a program starts with into `area`. */
void hal_fpu_init(void *area);
/* Makes sure that `context->fpu`, fs_base and gs_base hold what the program left there; then they may be read... */
void hal_context_sync(struct hal_context *context);
/* ...and changed, before this. */
void hal_context_reload(struct hal_context *context);
/* The context is about to be freed: forgets that its state may be in the CPU. */
void hal_context_forget(struct hal_context *context);
/* Checks an XSAVE area that came from the program (a signal frame); makes it safe to load or says false. */
bool hal_fpu_sanitize(void *area);

/* Prepares a context that calls `entry(argument)` on the given stack when first switched to. `entry` never returns. */
void hal_context_init(struct hal_context *context, void *stack, size_t stack_size, void (*entry)(void *), void *argument);
/* Leaves `from` and goes on with `to`; returns when something switches back to `from`. Thread context. */
void hal_context_switch(struct hal_context *from, struct hal_context *to);

/* Makes a frame that starts the program at `entry` with stack pointer `stack`, all other registers zero. */
HAL_LANDMARK void hal_frame_init(struct hal_frame *frame, uintptr_t entry, uintptr_t stack);
/* Enters the program with `frame` on the current thread's stack; the kernel gets control again through hal/kernel.h. */
HAL_NORETURN void hal_user_enter(const struct hal_frame *frame);
/* Makes a frame that the program supplied (rt_sigreturn) safe: ring 3 selectors, canonical rip, harmless flags. */
void hal_frame_sanitize(struct hal_frame *frame);

/* Closes interrupts and returns what to give to hal_irq_restore(). */
unsigned long hal_irq_save(void);
void hal_irq_restore(unsigned long state);

/*
 * Thread context. Opens interrupts, waits for one (or for hal_kick()), closes them again. Returns after at least one interrupt was
 * handled, or at once where one was pending.
 */
void hal_idle(void);
/* From an interrupt handler or another host thread: makes a hal_idle() in progress, or the next one, return. */
void hal_kick(void);

/* Calls `handler(context)` at each interrupt of a line (on x86 the global system interrupt number). */
struct hal_irq {
    void (*handler)(void *context);
    void *context;
};
/*
 * `line` becomes enabled. `level`: level-triggered, active low for PCI; else edge. Lines are shared in order of asking. 0;
 * -HAL_EINVAL: no such line; -HAL_ENOSPC, -HAL_ENOMEM: no vector, or no room for the handler. Only while drivers start.
 */
int hal_irq_connect(unsigned line, bool level, struct hal_irq irq);
/* An unused message-signalled interrupt: the address and data that a device must write. 0; -HAL_ENOSPC: none left. */
int hal_msi_connect(struct hal_irq irq, uint64_t *address, uint32_t *data);

/* The number of interrupt lines: how many hal_irq_connect() can take. */
unsigned hal_irq_lines(void);

/* What the CPU can do, for the program's auxiliary vector: AT_HWCAP and AT_HWCAP2. */
uint64_t hal_hwcap(void);
uint64_t hal_hwcap2(void);

#endif
