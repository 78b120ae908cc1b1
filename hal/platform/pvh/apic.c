/*
 * Local APIC and I/O APICs. Intel SDM volume 3, chapter 11; 82093AA data sheet.
 */
#include "hal/kernel.h"
#include "pvh.h"

#define LAPIC_BASE 0xfee00000
#define LAPIC_EOI 0x0b0
#define LAPIC_SPURIOUS 0x0f0
#define LAPIC_LVT_TIMER 0x320
#define LAPIC_LVT_LINT0 0x350
#define LAPIC_LVT_LINT1 0x360
#define LAPIC_LVT_ERROR 0x370
#define LAPIC_TIMER_INITIAL 0x380
#define LAPIC_TIMER_CURRENT 0x390
#define LAPIC_TIMER_DIVIDE 0x3e0
#define LAPIC_MASKED 0x10000
#define IOAPIC_BASE 0xfec00000
#define IOAPIC2_BASE 0xfec10000
#define LINES 48
#define VECTORS 80 /* from PVH_VECTOR_IRQ to below PVH_VECTOR_SPURIOUS */
#define SHARERS 4

static volatile uint32_t *lapic, *ioapic[2];
static struct hal_irq handlers[VECTORS][SHARERS];
static uint8_t line_vector[LINES]; /* 0: not connected */
static unsigned next_vector = PVH_VECTOR_IRQ;

static void lapic_write(unsigned reg, uint32_t value) {
    lapic[reg / 4] = value;
}

static uint32_t ioapic_read(volatile uint32_t *base, uint32_t reg) {
    base[0] = reg;
    return base[4];
}

static void ioapic_write(volatile uint32_t *base, uint32_t reg, uint32_t value) {
    base[0] = reg;
    base[4] = value;
}

void pvh_apic_init(void) {
    outb(0x21, 0xff); /* the 8259s stay silent */
    outb(0xa1, 0xff);
    lapic = hal_mmio_map(LAPIC_BASE, 0x1000);
    ioapic[0] = hal_mmio_map(IOAPIC_BASE, 0x1000);
    lapic_write(LAPIC_SPURIOUS, 0x100 | PVH_VECTOR_SPURIOUS);
    lapic_write(LAPIC_LVT_LINT0, LAPIC_MASKED);
    lapic_write(LAPIC_LVT_LINT1, 0x400); /* NMI */
    lapic_write(LAPIC_LVT_ERROR, LAPIC_MASKED);
    lapic_write(LAPIC_TIMER_DIVIDE, 0xb); /* by 1 */
    lapic_write(LAPIC_LVT_TIMER, PVH_VECTOR_TIMER);
}

void pvh_apic_timer_start(uint32_t count) {
    lapic_write(LAPIC_TIMER_INITIAL, count);
}

uint32_t pvh_apic_timer_count(void) {
    return lapic[LAPIC_TIMER_CURRENT / 4];
}

void pvh_apic_interrupt(unsigned vector) {
    if (vector == PVH_VECTOR_SPURIOUS)
        return;
    if (vector == PVH_VECTOR_TIMER) {
        lapic_write(LAPIC_EOI, 0);
        pvh_clock_interrupt();
        return;
    }
    if (vector >= PVH_VECTOR_IRQ && vector < PVH_VECTOR_IRQ + VECTORS)
        for (unsigned i = 0; i < SHARERS && handlers[vector - PVH_VECTOR_IRQ][i].handler; i++)
            handlers[vector - PVH_VECTOR_IRQ][i].handler(handlers[vector - PVH_VECTOR_IRQ][i].context);
    /* After the handlers: a level-triggered line is quiet by now. */
    lapic_write(LAPIC_EOI, 0);
}

static int add_handler(unsigned vector, struct hal_irq irq) {
    for (unsigned i = 0; i < SHARERS; i++)
        if (!handlers[vector - PVH_VECTOR_IRQ][i].handler) {
            handlers[vector - PVH_VECTOR_IRQ][i] = irq;
            return 0;
        }
    return -HAL_ENOSPC;
}

int hal_irq_connect(unsigned line, bool level, struct hal_irq irq) {
    if (line >= LINES)
        return -HAL_EINVAL;
    if (line_vector[line])
        return add_handler(line_vector[line], irq);
    if (next_vector == PVH_VECTOR_SPURIOUS || next_vector == PVH_VECTOR_IRQ + VECTORS)
        return -HAL_ENOSPC;
    unsigned chip = line / 24;
    if (!ioapic[chip])
        ioapic[chip] = hal_mmio_map(IOAPIC2_BASE, 0x1000);
    if (!ioapic[chip])
        return -HAL_ENOMEM;
    line_vector[line] = (uint8_t)next_vector++;
    add_handler(line_vector[line], irq);
    uint32_t reg = 0x10 + 2 * (line % 24);
    ioapic_write(ioapic[chip], reg + 1, (uint32_t)(lapic[0x20 / 4] & 0xff000000));
    ioapic_write(ioapic[chip], reg, line_vector[line] | (level ? 0x8000u : 0));
    return 0;
}

int hal_msi_connect(struct hal_irq irq, uint64_t *address, uint32_t *data) {
    if (next_vector == PVH_VECTOR_SPURIOUS || next_vector == PVH_VECTOR_IRQ + VECTORS)
        return -HAL_ENOSPC;
    unsigned vector = next_vector++;
    *address = LAPIC_BASE | (uint64_t)(lapic[0x20 / 4] >> 24) << 12;
    *data = vector;
    return add_handler(vector, irq);
}

unsigned hal_irq_lines(void) {
    volatile uint32_t *second = hal_mmio_map(IOAPIC2_BASE, 0x1000);
    uint32_t version = second ? ioapic_read(second, 1) : UINT32_MAX;
    bool there = version != 0 && version != UINT32_MAX && (version >> 16 & 0xff) == 23;
    return there ? 48 : 24;
}
