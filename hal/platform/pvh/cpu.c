#include "pvh.h"

#include "hal/memory.h"
#include "hal/random.h"
#include "hal/string.h"

#define MSR_FS_BASE 0xc0000100
#define MSR_GS_BASE 0xc0000101
#define MSR_STAR 0xc0000081
#define MSR_LSTAR 0xc0000082
#define MSR_SFMASK 0xc0000084

#define CR4_OSXSAVE (1u << 18)
#define CR4_UMIP (1u << 11)
#define CR4_FSGSBASE (1u << 16)
#define CR4_SMEP (1u << 20)
#define CR4_SMAP (1u << 21)

extern void syscall_entry(void), pvh_context_start(void);
void pvh_switch(void **save_stack_pointer, void *stack_pointer);
size_t pvh_copy_user(void *to, const void *from, size_t size);
size_t pvh_zero_user(void *to, size_t size);

uint8_t pvh_has_smap;
static bool has_xsave, has_fsgsbase, has_rdrand, has_rdseed;
static uint64_t xcr0;
static size_t fpu_size = 512;
static struct hal_context *loaded; /* whose user state (FPU, FS and GS base) is in the CPU */

void pvh_cpu_init(void) {
    uint32_t max = cpuid(0, 0).a;
    struct pvh_cpuid one = cpuid(1, 0), seven = {0};
    if (max >= 7)
        seven = cpuid(7, 0);
    uint64_t cr4;
    __asm__ volatile("mov %%cr4, %0" : "=r"(cr4));
    has_xsave = one.c & (1u << 26);
    has_rdrand = one.c & (1u << 30);
    has_rdseed = seven.b & (1u << 18);
    has_fsgsbase = seven.b & 1;
    pvh_has_smap = seven.b >> 20 & 1;
    cr4 |= (has_xsave ? CR4_OSXSAVE : 0) | (has_fsgsbase ? CR4_FSGSBASE : 0) | (seven.b & (1u << 7) ? CR4_SMEP : 0) |
           (pvh_has_smap ? CR4_SMAP : 0) | (seven.c & 4 ? CR4_UMIP : 0);
    __asm__ volatile("mov %0, %%cr4" : : "r"(cr4) : "memory");
    if (has_xsave) {
        struct pvh_cpuid state = cpuid(0xd, 0);
        xcr0 = state.a & 0xe7; /* x87, SSE, AVX, AVX-512; neither MPX nor PKRU nor AMX */
        if ((xcr0 & 0xe0) != 0xe0)
            xcr0 &= ~0xe0ull;
        __asm__ volatile("xsetbv" : : "c"(0), "a"((uint32_t)xcr0), "d"(0));
        fpu_size = (cpuid(0xd, 0).b + 63u) & ~63u;
    }
    wrmsr(MSR_STAR, (uint64_t)0x1b << 48 | (uint64_t)0x08 << 32);
    wrmsr(MSR_LSTAR, (uintptr_t)syscall_entry);
    wrmsr(MSR_SFMASK, 0x257fd5); /* all but the reserved bit: IF, DF, TF, AC, NT and the arithmetic flags */
}

size_t hal_fpu_size(void) {
    return fpu_size;
}

void hal_fpu_init(void *area) {
    memset(area, 0, fpu_size);
    uint16_t control = 0x37f;
    uint32_t mxcsr = 0x1f80;
    memcpy(area, &control, sizeof control);
    memcpy((uint8_t *)area + 24, &mxcsr, sizeof mxcsr);
    if (has_xsave)
        ((uint64_t *)area)[64] = 3; /* XSTATE_BV: the two parts above are as given, the rest in its initial state */
}

bool hal_fpu_sanitize(void *area) {
    uint32_t mxcsr, mask;
    memcpy(&mxcsr, (uint8_t *)area + 24, sizeof mxcsr);
    memcpy(&mask, (uint8_t *)area + 28, sizeof mask);
    if (mxcsr & ~0xffffu)
        return false;
    if (!has_xsave)
        return true;
    uint64_t *header = (uint64_t *)area + 64;
    header[0] &= xcr0;
    for (unsigned i = 1; i < 8; i++)
        if (header[i])
            return false;
    return true;
}

static void fpu_save(void *area) {
    if (has_xsave)
        __asm__ volatile("xsave64 (%0)" : : "r"(area), "a"((uint32_t)xcr0), "d"(0) : "memory");
    else
        __asm__ volatile("fxsave64 (%0)" : : "r"(area) : "memory");
}

static void fpu_load(const void *area) {
    if (has_xsave)
        __asm__ volatile("xrstor64 (%0)" : : "r"(area), "a"((uint32_t)xcr0), "d"(0) : "memory");
    else
        __asm__ volatile("fxrstor64 (%0)" : : "r"(area) : "memory");
}

void hal_context_sync(struct hal_context *context) {
    if (loaded != context)
        return;
    fpu_save(context->fpu);
    if (has_fsgsbase) {
        __asm__ volatile("rdfsbase %0" : "=r"(context->fs_base));
        __asm__ volatile("rdgsbase %0" : "=r"(context->gs_base));
    } else {
        context->fs_base = rdmsr(MSR_FS_BASE);
        context->gs_base = rdmsr(MSR_GS_BASE);
    }
}

void hal_context_reload(struct hal_context *context) {
    fpu_load(context->fpu);
    if (has_fsgsbase) {
        __asm__ volatile("wrfsbase %0" : : "r"(context->fs_base));
        __asm__ volatile("wrgsbase %0" : : "r"(context->gs_base));
    } else {
        wrmsr(MSR_FS_BASE, context->fs_base);
        wrmsr(MSR_GS_BASE, context->gs_base);
    }
    loaded = context;
}

void hal_context_forget(struct hal_context *context) {
    if (loaded == context)
        loaded = NULL;
}

void hal_context_init(struct hal_context *context, void *stack, size_t stack_size, void (*entry)(void *), void *argument) {
    uint64_t *top = (uint64_t *)((uintptr_t)stack + stack_size);
    /* As pvh_switch() pops it: r15 r14 r13 r12 rbp rbx, then the return address; and two words for alignment. */
    top -= 9;
    memset(top, 0, 9 * sizeof *top);
    top[3] = (uintptr_t)argument;
    top[5] = (uintptr_t)entry;
    top[6] = (uintptr_t)pvh_context_start;
    context->stack_pointer = top;
    context->stack_top = (uintptr_t)stack + stack_size;
}

void hal_context_switch(struct hal_context *from, struct hal_context *to) {
    /* The program's state stays in the CPU while kernel threads run, and is exchanged when another thread of it does. */
    if (to->user && loaded != to) {
        if (loaded)
            hal_context_sync(loaded);
        hal_context_reload(to);
    }
    pvh_trap_set_stack(to->stack_top);
    pvh_switch(&from->stack_pointer, to->stack_pointer);
}

void hal_frame_init(struct hal_frame *frame, uintptr_t entry, uintptr_t stack) {
    memset(frame, 0, sizeof *frame);
    frame->rip = entry;
    frame->rsp = stack;
    frame->cs = 0x2b;
    frame->ss = 0x23;
    frame->rflags = 0x202;
}

void hal_frame_sanitize(struct hal_frame *frame) {
    /* What a program may set: the arithmetic flags, DF, TF, AC, ID, RF. Interrupts stay open, IOPL 0. */
    frame->rflags = (frame->rflags & 0x250dd5) | 0x202;
    frame->cs = 0x2b;
    frame->ss = 0x23;
    if (frame->rip >= HAL_USER_END)
        frame->rip = 0; /* faults in the program, where it belongs */
    frame->vector = 0; /* every register is to be restored: not by SYSRET */
}

static bool user_range(uintptr_t address, size_t size) {
    return address < HAL_USER_END && size <= HAL_USER_END - address;
}

size_t hal_user_read(void *to, uintptr_t from, size_t size) {
    return user_range(from, size) ? pvh_copy_user(to, (const void *)from, size) : size;
}

size_t hal_user_write(uintptr_t to, const void *from, size_t size) {
    return user_range(to, size) ? pvh_copy_user((void *)to, from, size) : size;
}

size_t hal_user_zero(uintptr_t to, size_t size) {
    return user_range(to, size) ? pvh_zero_user((void *)to, size) : size;
}

unsigned long hal_irq_save(void) {
    unsigned long flags;
    __asm__ volatile("pushfq; pop %0; cli" : "=r"(flags) : : "memory");
    return flags & 0x200;
}

void hal_irq_restore(unsigned long state) {
    if (state)
        __asm__ volatile("sti" : : : "memory");
}

void hal_idle(void) {
    /* STI opens interrupts after the next instruction: none is lost between it and HLT. */
    __asm__ volatile("sti; hlt; cli" : : : "memory");
}

void hal_kick(void) {
    /* One CPU: an interrupt handler that calls this has ended the HLT already. */
}

size_t hal_random_hardware(void *buffer, size_t size) {
    if (!has_rdseed && !has_rdrand)
        return 0;
    uint8_t *bytes = buffer;
    for (size_t done = 0; done < size;) {
        uint64_t word;
        bool valid = false;
        for (unsigned attempt = 0; attempt < 1000 && !valid; attempt++) {
            if (has_rdseed)
                __asm__ volatile("rdseed %0; setc %1" : "=r"(word), "=qm"(valid) : : "cc");
            else
                __asm__ volatile("rdrand %0; setc %1" : "=r"(word), "=qm"(valid) : : "cc");
            if (!valid)
                __asm__ volatile("pause");
        }
        if (!valid)
            return 0;
        size_t now = size - done < sizeof word ? size - done : sizeof word;
        memcpy(bytes + done, &word, now);
        done += now;
    }
    return size;
}

uint64_t hal_random_jitter(void) {
    return rdtsc();
}

uint64_t hal_hwcap(void) {
    return cpuid(1, 0).d;
}

uint64_t hal_hwcap2(void) {
    return has_fsgsbase ? 2 : 0; /* HWCAP2_FSGSBASE */
}
