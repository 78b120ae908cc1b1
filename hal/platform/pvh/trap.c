#include "hal/boot.h"
#include "hal/kernel.h"
#include "hal/string.h"
#include "pvh.h"

#define IST_SIZE 4096

struct descriptor {
    uint16_t offset_low, selector;
    uint8_t ist, type;
    uint16_t offset_middle;
    uint32_t offset_high, reserved;
};

struct task_state {
    uint32_t reserved0;
    uint64_t rsp[3];
    uint64_t reserved1;
    uint64_t ist[7];
    uint64_t reserved2;
    uint16_t reserved3, io_map;
} __attribute__((packed));

struct table_pointer {
    uint16_t limit;
    uint64_t base;
} __attribute__((packed));

struct fixup {
    uint64_t from, to;
};

extern char trap_vectors[];
extern const struct fixup fixups_begin[], fixups_end[];

static struct descriptor idt[128] __attribute__((aligned(16)));
static struct task_state tss __attribute__((aligned(16)));
/* Null, kernel code, kernel data, (32-bit user code, unused), user data, user code, TSS: the order SYSRET asks for. */
static uint64_t gdt[8] = {0, 0x00af9b000000ffff, 0x00cf93000000ffff, 0, 0x00cff3000000ffff, 0x00affb000000ffff, 0, 0};
static uint8_t ist_stacks[3][IST_SIZE] __attribute__((aligned(16)));

void pvh_trap_init(void) {
    uint64_t base = (uintptr_t)&tss;
    gdt[6] = (sizeof tss - 1) | (base & 0xffffff) << 16 | 0x89ull << 40 | (base >> 24 & 0xff) << 56;
    gdt[7] = base >> 32;
    for (unsigned i = 0; i < 3; i++)
        tss.ist[i] = (uintptr_t)(ist_stacks[i] + IST_SIZE);
    tss.io_map = sizeof tss; /* beyond the limit: no port is open to ring 3 */
    struct table_pointer gdt_pointer = {sizeof gdt - 1, (uintptr_t)gdt};
    __asm__ volatile("lgdt %0; ltr %w1" : : "m"(gdt_pointer), "r"(0x30) : "memory");
    for (unsigned vector = 0; vector < 128; vector++) {
        uintptr_t entry = (uintptr_t)trap_vectors + vector * 16;
        /*
         * Own stacks: NMI, #DF (the stack itself may be the trouble), #MC, of which none returns. Not #DB, which the program
         * may raise and which blocks, as its signal's frame may come from a disk: in the kernel there is none, since SYSCALL
         * clears TF and no debug register is set.
         */
        uint8_t ist = vector == 2 ? 1 : vector == 8 ? 2 : vector == 18 ? 3 : 0;
        /* INT3 may be raised by the program. */
        idt[vector] = (struct descriptor){(uint16_t)entry, 0x08, ist, vector == 3 ? 0xee : 0x8e, (uint16_t)(entry >> 16), (uint32_t)(entry >> 32), 0};
    }
    struct table_pointer idt_pointer = {sizeof idt - 1, (uintptr_t)idt};
    __asm__ volatile("lidt %0" : : "m"(idt_pointer));
}

void pvh_trap_set_stack(uintptr_t top) {
    tss.rsp[0] = top;
    pvh_kernel_stack = (void *)top;
}

static bool fix_up(struct hal_frame *frame) {
    for (const struct fixup *fixup = fixups_begin; fixup < fixups_end; fixup++)
        if (fixup->from == frame->rip) {
            frame->rip = fixup->to;
            return true;
        }
    return false;
}

static const char *kernel_fault_name(const struct hal_frame *frame, uintptr_t address) {
    switch (frame->vector) {
    case 2:
        return "A non-maskable interrupt came.";
    case 8:
        return address >= PVH_STACK_BASE && address < PVH_STACK_BASE + (1ull << 39) ? "The kernel's stack overflowed into its guard page."
                                                                                  : "A double fault.";
    case 14:
        if (frame->error & 0x10)
            return "The kernel tried to execute a page that it must not.";
        return frame->error & 2 ? "The kernel wrote where it must not." : "The kernel read where it must not.";
    case 18:
        return "A machine check.";
    default:
        return "An exception in the kernel.";
    }
}

void pvh_trap(struct hal_frame *frame) {
    bool user = frame->cs & 3;
    unsigned vector = (unsigned)frame->vector;
    if (vector >= PVH_VECTOR_TIMER) {
        pvh_apic_interrupt(vector);
    } else if (vector == 14) {
        uintptr_t address;
        __asm__ volatile("mov %%cr2, %0" : "=r"(address));
        /* The kernel touches the program's memory only in the copy routines, which have fixups. */
        bool may_fix = false;
        for (const struct fixup *fixup = fixups_begin; !user && fixup < fixups_end && !may_fix; fixup++)
            may_fix = fixup->from == frame->rip;
        if (user || may_fix) {
            bool cured = address < HAL_USER_END && kernel_page_fault(address, frame->error & 2, frame->error & 0x10);
            if (!cured && user)
                kernel_user_fault(frame, address);
            else if (!cured)
                fix_up(frame);
        } else {
            pvh_crash(frame, address, kernel_fault_name(frame, address));
        }
    } else if (user && vector != 2 && vector != 8 && vector != 18) {
        kernel_user_fault(frame, vector == 13 || vector == 12 ? 0 : frame->rip);
    } else {
        uintptr_t address;
        __asm__ volatile("mov %%cr2, %0" : "=r"(address));
        pvh_crash(frame, address, kernel_fault_name(frame, address));
    }
    if (user)
        kernel_return_to_user(frame);
}

void pvh_syscall(struct hal_frame *frame) {
    kernel_syscall(frame);
    kernel_return_to_user(frame);
}
