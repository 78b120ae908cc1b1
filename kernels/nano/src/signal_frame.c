/*
 * Handlers, group `signals`: what one finds on the program's stack, and the way back from it.
 */
#include "hal/memory.h"
#include "hal/string.h"
#include "nano/errno.h"
#include "nano/heap.h"
#include "nano/init.h"
#include "nano/program.h"
#include "nano/signal_state.h"
#include "nano/syscall.h"
#include "nano/user.h"

#define SS_ONSTACK 1u
#define SS_DISABLE 2u
#define UC_FP_XSTATE 1
#define UC_SIGCONTEXT_SS 2
#define UC_STRICT_RESTORE_SS 4
#define FP_XSTATE_MAGIC1 0x46505853u
#define FP_XSTATE_MAGIC2 0x46505845u
#define RED_ZONE 128

/* Linux's struct sigcontext, ucontext and rt_sigframe of x86-64 (arch/x86/include/uapi/asm/sigcontext.h, ucontext.h). */
struct signal_frame {
    uint64_t return_address;
    uint64_t flags, link;
    struct {
        uint64_t pointer;
        uint32_t flags, pad;
        uint64_t size;
    } stack;
    uint64_t r8, r9, r10, r11, r12, r13, r14, r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, rflags;
    uint16_t cs, gs, fs, ss;
    uint64_t error, trap, old_mask, address, fpu;
    uint64_t reserved[8];
    uint64_t mask;
    struct siginfo info;
};

static bool on_alt_stack(uintptr_t rsp) {
    return !(current->alt_stack_flags & SS_DISABLE) && current->alt_stack_size && rsp > current->alt_stack &&
           rsp <= current->alt_stack + current->alt_stack_size;
}

static bool enter_handler(struct hal_frame *frame, int signal, const struct signal_action *action, const struct siginfo *info) {
    uintptr_t sp = frame->rsp - RED_ZONE;
    if (action->flags & SA_ONSTACK && current->alt_stack_size && !(current->alt_stack_flags & SS_DISABLE) && !on_alt_stack(frame->rsp))
        sp = current->alt_stack + current->alt_stack_size;
    size_t fpu_size = hal_fpu_size();
    sp = (sp - fpu_size - 4) & ~(uintptr_t)63;
    uintptr_t fpu = sp;
    sp = ((sp - sizeof(struct signal_frame)) & ~(uintptr_t)15) - 8;
    struct signal_frame out;
    memset(&out, 0, sizeof out);
    out.return_address = action->restorer;
    out.flags = UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS | (fpu_size > 512 ? UC_FP_XSTATE : 0);
    out.stack.pointer = current->alt_stack;
    out.stack.flags = current->alt_stack_size ? current->alt_stack_flags | (on_alt_stack(frame->rsp) ? SS_ONSTACK : 0) : SS_DISABLE;
    out.stack.size = current->alt_stack_size;
    out.r8 = frame->arg[4];
    out.r9 = frame->arg[5];
    out.r10 = frame->arg[3];
    out.r11 = frame->r11;
    out.r12 = frame->r12;
    out.r13 = frame->r13;
    out.r14 = frame->r14;
    out.r15 = frame->r15;
    out.rdi = frame->arg[0];
    out.rsi = frame->arg[1];
    out.rbp = frame->rbp;
    out.rbx = frame->rbx;
    out.rdx = frame->arg[2];
    out.rax = frame->rax;
    out.rcx = frame->rcx;
    out.rsp = frame->rsp;
    out.rip = frame->rip;
    out.rflags = frame->rflags;
    out.cs = 0x33; /* what Linux shows; the real selectors are never taken from here */
    out.ss = 0x2b;
    out.error = frame->vector < 32 ? frame->error : 0;
    out.trap = frame->vector < 32 ? frame->vector : 0;
    out.address = frame->vector == 14 ? info->address : 0;
    out.fpu = fpu;
    out.mask = current->restore_blocked ? current->saved_blocked : current->blocked;
    out.info = *info;
    hal_context_sync(&current->context);
    /* The software-reserved bytes of the FXSAVE area say how large it is (struct _fpx_sw_bytes). */
    struct {
        uint32_t magic, size;
        uint64_t features;
        uint32_t state_size, pad[7];
    } software = {FP_XSTATE_MAGIC1, (uint32_t)fpu_size + 4, 7, (uint32_t)fpu_size, {0}};
    uint32_t magic2 = FP_XSTATE_MAGIC2;
    if (fpu_size > 512)
        memcpy((uint8_t *)current->context.fpu + 464, &software, sizeof software);
    if (copy_to_user(fpu, current->context.fpu, fpu_size) != 0 || copy_to_user(fpu + fpu_size, &magic2, sizeof magic2) != 0 ||
        copy_to_user(sp, &out, sizeof out) != 0)
        return false;
    frame->rsp = sp;
    frame->rip = action->handler;
    frame->arg[0] = (uint64_t)signal;
    frame->arg[1] = sp + offsetof(struct signal_frame, info);
    frame->arg[2] = sp + offsetof(struct signal_frame, flags);
    frame->rax = 0;
    frame->rflags &= ~(uint64_t)0x500; /* DF and TF */
    hal_frame_sanitize(frame);
    return true;
}

static void handlers_init(void) {
    signal_enter_handler = enter_handler;
}
INITCALL(INIT_CORE, handlers_init);

static int64_t sys_sigaltstack(const uint64_t *a) {
    struct {
        uint64_t pointer;
        uint32_t flags, pad;
        uint64_t size;
    } new, old = {current->alt_stack, current->alt_stack_size ? current->alt_stack_flags : SS_DISABLE, 0, current->alt_stack_size};
    bool on_it = on_alt_stack(current->frame->rsp);
    if (a[0] && copy_from_user(&new, a[0], sizeof new) != 0)
        return -EFAULT;
    if (on_it)
        old.flags |= SS_ONSTACK;
    if (a[0]) {
        if (on_it)
            return -EPERM;
        if (new.flags & ~(SS_DISABLE | SS_ONSTACK | 0x80000000u))
            return -EINVAL;
        if (!(new.flags & SS_DISABLE) && new.size < 2048)
            return -ENOMEM;
        current->alt_stack = new.flags & SS_DISABLE ? 0 : new.pointer;
        current->alt_stack_size = new.flags & SS_DISABLE ? 0 : new.size;
        current->alt_stack_flags = new.flags & SS_DISABLE;
    }
    return a[1] ? copy_to_user(a[1], &old, sizeof old) : 0;
}
SYSCALL(131, sigaltstack, sys_sigaltstack, signals);

static int64_t sys_rt_sigreturn(const uint64_t *a) {
    (void)a;
    struct hal_frame *frame = current->frame;
    struct signal_frame in;
    /* The handler's RET took the return address. */
    uintptr_t sp = frame->rsp - 8;
    if (copy_from_user(&in, sp, sizeof in) != 0)
        program_killed(SIGSEGV, "The program returned from a signal handler with a damaged stack");
    if (in.fpu) {
        hal_context_sync(&current->context);
        void *area = kmalloc(hal_fpu_size());
        if (!area || copy_from_user(area, in.fpu, hal_fpu_size()) != 0 || !hal_fpu_sanitize(area))
            program_killed(SIGSEGV, "The program returned from a signal handler with damaged floating point state");
        memcpy(current->context.fpu, area, hal_fpu_size());
        kfree(area);
        hal_context_reload(&current->context);
    }
    frame->arg[4] = in.r8;
    frame->arg[5] = in.r9;
    frame->arg[3] = in.r10;
    frame->r11 = in.r11;
    frame->r12 = in.r12;
    frame->r13 = in.r13;
    frame->r14 = in.r14;
    frame->r15 = in.r15;
    frame->arg[0] = in.rdi;
    frame->arg[1] = in.rsi;
    frame->rbp = in.rbp;
    frame->rbx = in.rbx;
    frame->arg[2] = in.rdx;
    frame->rcx = in.rcx;
    frame->rsp = in.rsp;
    frame->rip = in.rip;
    frame->rflags = in.rflags;
    hal_frame_sanitize(frame);
    current->blocked = in.mask & ~UNBLOCKABLE;
    return (int64_t)in.rax;
}
SYSCALL(15, rt_sigreturn, sys_rt_sigreturn, signals);
