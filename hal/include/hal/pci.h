/*
 * The PCI bus: configuration mechanism #1 (PCI Local Bus 3.0, 3.2.2.3.2), found functions, their BARs and MSI-X.
 */
#ifndef HAL_PCI_H
#define HAL_PCI_H

#include "hal/base.h"
#include "hal/cpu.h"

/* One function, by bus, device and function number; valid for ever. */
struct hal_pci {
    uint8_t bus, device, function;
    uint16_t vendor, id;
};

uint32_t hal_pci_read32(const struct hal_pci *pci, unsigned offset);
uint16_t hal_pci_read16(const struct hal_pci *pci, unsigned offset);
uint8_t hal_pci_read8(const struct hal_pci *pci, unsigned offset);
void hal_pci_write32(const struct hal_pci *pci, unsigned offset, uint32_t value);
void hal_pci_write16(const struct hal_pci *pci, unsigned offset, uint16_t value);

/* The offset of the capability `id`, the one after `after` (0: the first). 0: there is none. */
unsigned hal_pci_capability(const struct hal_pci *pci, uint8_t id, unsigned after);

/* A BAR: its address and whether it is of I/O ports. False: it is not implemented or the firmware gave it no address. */
bool hal_pci_bar(const struct hal_pci *pci, unsigned index, uint64_t *address, bool *ports);

/* Memory, I/O and bus mastering on. */
void hal_pci_enable(const struct hal_pci *pci);

/* Routes the MSI-X table's entry 0 to `irq` and turns MSI-X on. -HAL_ENXIO where the function has none. */
int hal_pci_msix(const struct hal_pci *pci, struct hal_irq irq);

/* A driver for PCI functions; `probe` answers 0 where it takes the function. */
struct hal_pci_driver {
    const char *name;
    int (*probe)(const struct hal_pci *pci);
};
#define HAL_PCI_DRIVER_TABLE(driver) \
    static const struct hal_pci_driver *const driver##_row __attribute__((used, section(".rodata.hal_pci_drivers"))) = &(driver)

#endif
