#include "hal/pci.h"

#include "hal/driver.h"
#include "hal/memory.h"
#include "hal/port.h"

#define ADDRESS 0xcf8
#define DATA 0xcfc
#define IDS 0x00
#define COMMAND 0x04
#define STATUS 0x06
#define CLASS 0x0a
#define HEADER_TYPE 0x0e
#define BAR0 0x10
#define SECONDARY_BUS 0x19
#define SUBSYSTEM_IDS 0x2c
#define CAPABILITIES 0x34
#define CAPABILITY_MSIX 0x11
#define CLASS_BRIDGE 0x0604
#define MAX_CAPABILITIES 48
#define MAX_DEPTH 8

/*
 * QEMU's registers for ACPI's PCI hot-plug (docs/specs/acpi_pci_hotplug.rst), and the chipset on which they are there, with
 * its general purpose event that says to look at them (ICH9 data sheet: PMBASE and ACPI_CNTL of the LPC bridge, GPE0_STS and
 * GPE0_EN of its power management).
 */
#define ICH9_LPC 0x29188086u
#define QEMU_SUBSYSTEM 0x11001af4u
#define PMBASE 0x40
#define ACPI_CONTROL 0x44
#define ACPI_ON 0x80u
#define ACPI_LINE 9 /* as QEMU and its firmware have it */
#define EVENT_STATUS 0x20
#define EVENT_ENABLE 0x28
#define EVENT_HOTPLUG 0x02u
#define HOTPLUG 0x0cc0
#define HOTPLUG_DOWN (HOTPLUG + 0x04)
#define HOTPLUG_EJECT (HOTPLUG + 0x08)
#define HOTPLUG_SELECT (HOTPLUG + 0x10)
#define HOTPLUG_BUSES 256

extern const struct hal_pci_driver *const hal_pci_drivers_begin[], *const hal_pci_drivers_end[];
static uint16_t events; /* ports of ACPI; 0: the machine has none */
static unsigned bridges;

static void select_register(const struct hal_pci *pci, unsigned offset) {
    hal_port_write32(ADDRESS, 0x80000000u | (uint32_t)pci->bus << 16 | (uint32_t)pci->device << 11 | (uint32_t)pci->function << 8 | (offset & 0xfc));
}

uint32_t hal_pci_read32(const struct hal_pci *pci, unsigned offset) {
    select_register(pci, offset);
    return hal_port_read32(DATA);
}

uint16_t hal_pci_read16(const struct hal_pci *pci, unsigned offset) {
    return (uint16_t)(hal_pci_read32(pci, offset) >> (offset & 2) * 8);
}

uint8_t hal_pci_read8(const struct hal_pci *pci, unsigned offset) {
    return (uint8_t)(hal_pci_read32(pci, offset) >> (offset & 3) * 8);
}

void hal_pci_write32(const struct hal_pci *pci, unsigned offset, uint32_t value) {
    select_register(pci, offset);
    hal_port_write32(DATA, value);
}

void hal_pci_write16(const struct hal_pci *pci, unsigned offset, uint16_t value) {
    select_register(pci, offset);
    hal_port_write16((uint16_t)(DATA + (offset & 2)), value);
}

unsigned hal_pci_capability(const struct hal_pci *pci, uint8_t id, unsigned after) {
    if (!(hal_pci_read16(pci, STATUS) & 0x10))
        return 0;
    unsigned at = hal_pci_read8(pci, after ? after + 1 : CAPABILITIES) & 0xfc;
    /* Bounded: a list that a device makes circular ends too. */
    for (unsigned i = 0; i < MAX_CAPABILITIES && at >= 0x40; i++) {
        if (hal_pci_read8(pci, at) == id)
            return at;
        at = hal_pci_read8(pci, at + 1) & 0xfc;
    }
    return 0;
}

bool hal_pci_bar(const struct hal_pci *pci, unsigned index, uint64_t *address, bool *ports) {
    if (index > 5)
        return false;
    uint32_t low = hal_pci_read32(pci, BAR0 + 4 * index);
    *ports = low & 1;
    if (*ports) {
        *address = low & 0xfffc;
        return *address != 0;
    }
    *address = low & 0xfffffff0;
    if ((low & 6) == 4 && index < 5)
        *address |= (uint64_t)hal_pci_read32(pci, BAR0 + 4 * (index + 1)) << 32;
    return *address != 0;
}

void hal_pci_enable(const struct hal_pci *pci) {
    hal_pci_write16(pci, COMMAND, (hal_pci_read16(pci, COMMAND) & ~0x400u) | 0x407);
}

int hal_pci_msix(const struct hal_pci *pci, struct hal_irq irq) {
    unsigned at = hal_pci_capability(pci, CAPABILITY_MSIX, 0);
    uint64_t bar, message;
    bool ports;
    uint32_t data;
    if (!at)
        return -HAL_ENXIO;
    uint32_t table = hal_pci_read32(pci, at + 4);
    if (!hal_pci_bar(pci, table & 7, &bar, &ports) || ports)
        return -HAL_ENXIO;
    volatile uint32_t *entry = hal_mmio_map(bar + (table & ~7u), 16);
    if (!entry)
        return -HAL_ENOMEM;
    int status = hal_msi_connect(irq, &message, &data);
    if (status != 0)
        return status;
    hal_pci_write16(pci, at + 2, (hal_pci_read16(pci, at + 2) & 0x7ff) | 0xc000); /* on, all masked meanwhile */
    entry[0] = (uint32_t)message;
    entry[1] = (uint32_t)(message >> 32);
    entry[2] = data;
    entry[3] = 0;
    hal_pci_write16(pci, at + 2, (hal_pci_read16(pci, at + 2) & 0x7ff) | 0x8000);
    return 0;
}

/* Lets go of what the machine was asked to unplug: those slots are empty then, their functions read as all ones. */
static void let_go(void *context) {
    (void)context;
    hal_port_write8(events + EVENT_STATUS, EVENT_HOTPLUG); /* first: what is asked for from here on is an event of its own */
    /* QEMU numbers the buses with slots in an order of its own, but gives none a number that is above how many buses there are. */
    for (unsigned bus = 0; bus <= bridges && bus < HOTPLUG_BUSES; bus++) {
        hal_port_write32(HOTPLUG_SELECT, bus);
        uint32_t asked = hal_port_read32(HOTPLUG_DOWN);
        if (asked == UINT32_MAX)
            return; /* nobody answers: the machine has ACPI's hot-plug off */
        for (; asked; asked &= asked - 1)
            hal_port_write32(HOTPLUG_EJECT, asked & -asked);
    }
}

/* The chipset's event about slots raises an interrupt; no other does. */
static void listen(const struct hal_pci *chipset) {
    uint16_t ports = hal_pci_read16(chipset, PMBASE) & 0xff80;
    if (!ports || !(hal_pci_read8(chipset, ACPI_CONTROL) & ACPI_ON) || hal_irq_connect(ACPI_LINE, true, (struct hal_irq){let_go, NULL}) != 0)
        return;
    events = ports;
    hal_port_write8(events + EVENT_ENABLE, EVENT_HOTPLUG);
}

static void scan_bus(uint8_t bus, unsigned depth);

static void found(const struct hal_pci *where, unsigned depth) {
    if (hal_pci_read16(where, CLASS) == CLASS_BRIDGE) {
        uint8_t secondary = hal_pci_read8(where, SECONDARY_BUS);
        bridges++;
        if (secondary > where->bus && depth < MAX_DEPTH)
            scan_bus(secondary, depth + 1);
        return;
    }
    if (!events && hal_pci_read32(where, IDS) == ICH9_LPC && hal_pci_read32(where, SUBSYSTEM_IDS) == QEMU_SUBSYSTEM)
        listen(where);
    for (const struct hal_pci_driver *const *row = hal_pci_drivers_begin; row < hal_pci_drivers_end; row++)
        if ((*row)->probe(where) == 0)
            return;
}

static void scan_bus(uint8_t bus, unsigned depth) {
    for (unsigned device = 0; device < 32; device++) {
        struct hal_pci where = {.bus = bus, .device = (uint8_t)device};
        unsigned functions = 1;
        for (unsigned function = 0; function < functions; function++) {
            where.function = (uint8_t)function;
            uint32_t ids = hal_pci_read32(&where, IDS);
            if ((ids & 0xffff) == 0xffff)
                continue;
            if (function == 0 && hal_pci_read8(&where, HEADER_TYPE) & 0x80)
                functions = 8;
            where.vendor = (uint16_t)ids;
            where.id = (uint16_t)(ids >> 16);
            found(&where, depth);
        }
    }
}

static void start(void) {
    hal_port_write32(ADDRESS, 0x80000000u);
    if (hal_port_read32(ADDRESS) == 0x80000000u)
        scan_bus(0, 0);
}

static const struct hal_driver pci = {"pci", 0, start};
HAL_DRIVER_TABLE(pci);
