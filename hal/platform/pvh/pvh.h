/*
 * Between the files of the x86-64 virtual machine platform.
 */
#ifndef PVH_H
#define PVH_H

#include "hal/base.h"
#include "hal/cpu.h"
#include "hal/memory.h"

#define PVH_DIRECT_BASE 0xffff800000000000ull /* all physical memory, not executable */
#define PVH_STACK_BASE 0xffffc00000000000ull  /* kernel stacks between guard pages */
#define PVH_KERNEL_BASE 0xffffffff80000000ull

static inline void outb(uint16_t port, uint8_t value) {
    __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port) : "memory");
}
static inline uint8_t inb(uint16_t port) {
    uint8_t value;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port) : "memory");
    return value;
}
static inline void outw(uint16_t port, uint16_t value) {
    __asm__ volatile("outw %0, %1" : : "a"(value), "Nd"(port) : "memory");
}
static inline void outl(uint16_t port, uint32_t value) {
    __asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port) : "memory");
}
static inline uint32_t inl(uint16_t port) {
    uint32_t value;
    __asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port) : "memory");
    return value;
}
static inline void wrmsr(uint32_t msr, uint64_t value) {
    __asm__ volatile("wrmsr" : : "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)) : "memory");
}
static inline uint64_t rdmsr(uint32_t msr) {
    uint32_t low, high;
    __asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
    return (uint64_t)high << 32 | low;
}
static inline uint64_t rdtsc(void) {
    uint32_t low, high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high) : : "memory");
    return (uint64_t)high << 32 | low;
}

struct pvh_cpuid {
    uint32_t a, b, c, d;
};
static inline struct pvh_cpuid cpuid(uint32_t leaf, uint32_t subleaf) {
    struct pvh_cpuid r;
    __asm__ volatile("cpuid" : "=a"(r.a), "=b"(r.b), "=c"(r.c), "=d"(r.d) : "a"(leaf), "c"(subleaf));
    return r;
}

/* boot.c */
extern uint64_t pvh_rsdp; /* physical address of the ACPI root pointer, 0: none */

/* mmu.c */
void pvh_mmu_init(void);
void pvh_mmu_map_ram(hal_phys_t base, uint64_t size);
/* Reads one page table walk for a crash report: whether `address` may be read by the kernel without a fault. */
bool pvh_mmu_readable(uintptr_t address);

/* cpu.c */
extern uint8_t pvh_has_smap;
extern void *pvh_kernel_stack;
void pvh_cpu_init(void);

/* trap.c */
void pvh_trap_init(void);
void pvh_trap_set_stack(uintptr_t top);
void pvh_trap(struct hal_frame *frame);
void pvh_syscall(struct hal_frame *frame);

/* apic.c */
#define PVH_VECTOR_TIMER 0x20
#define PVH_VECTOR_IRQ 0x28
#define PVH_VECTOR_SPURIOUS 0x7f
void pvh_apic_init(void);
void pvh_apic_interrupt(unsigned vector);
void pvh_apic_timer_start(uint32_t count);
uint32_t pvh_apic_timer_count(void);

/* clock.c */
void pvh_clock_init(void);
void pvh_clock_interrupt(void);

/* crash.c */
HAL_NORETURN void pvh_crash(const struct hal_frame *frame, uintptr_t address, const char *why);

/* serial.c */
void pvh_serial_init(void);
void pvh_serial_control_input(void);

#endif
