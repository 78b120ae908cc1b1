/*
 * Device registers as memory, and interrupt lines that a test raises.
 */
#include <stdlib.h>

#include "hal/cpu.h"
#include "hal/memory.h"
#include "host.h"

#define REGISTER_PAGES 64
#define HANDLERS 64

static struct {
    hal_phys_t address;
    uint8_t *memory;
} pages[REGISTER_PAGES];
static unsigned page_count;

static struct {
    unsigned line;
    struct hal_irq irq;
} handlers[HANDLERS];
static unsigned handler_count;

volatile void *hal_mmio_map(hal_phys_t address, size_t size) {
    hal_phys_t page = address & ~(hal_phys_t)HAL_PAGE_MASK;
    if ((address & HAL_PAGE_MASK) + size > HAL_PAGE_SIZE)
        return NULL; /* registers across pages: no device of ours has them */
    unsigned i = 0;
    while (i < page_count && pages[i].address != page)
        i++;
    if (i == REGISTER_PAGES)
        return NULL;
    if (i == page_count) {
        pages[i].address = page;
        pages[i].memory = calloc(1, HAL_PAGE_SIZE);
        if (!pages[i].memory)
            abort();
        page_count++;
    }
    return pages[i].memory + (address & HAL_PAGE_MASK);
}

int hal_irq_connect(unsigned line, bool level, struct hal_irq irq) {
    (void)level;
    if (line >= HOST_LINES)
        return -HAL_EINVAL;
    if (handler_count == HANDLERS)
        return -HAL_ENOMEM;
    handlers[handler_count].line = line;
    handlers[handler_count++].irq = irq;
    return 0;
}

int hal_msi_connect(struct hal_irq irq, uint64_t *address, uint32_t *data) {
    (void)irq;
    (void)address;
    (void)data;
    return -HAL_ENOSPC;
}

unsigned hal_irq_lines(void) {
    return HOST_LINES;
}

void host_interrupt(unsigned line) {
    for (unsigned i = 0; i < handler_count; i++)
        if (handlers[i].line == line)
            handlers[i].irq.handler(handlers[i].irq.context);
}

void host_forget_registers(void) {
    while (page_count)
        free(pages[--page_count].memory);
    handler_count = 0;
}
