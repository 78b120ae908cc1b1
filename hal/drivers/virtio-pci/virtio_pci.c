/*
 * Virtio over PCI (VIRTIO 1.1, section 4.1): modern devices by their capabilities, legacy ones (4.1.4.8) by BAR 0's ports.
 * One MSI-X vector serves the queues and changes of configuration.
 */
#include "hal/driver.h"
#include "hal/memory.h"
#include "hal/pci.h"
#include "hal/port.h"
#include "hal/virtio.h"

#define VENDOR 0x1af4
#define CAPABILITY_VENDOR 0x09
#define CONFIG_COMMON 1
#define CONFIG_NOTIFY 2
#define CONFIG_DEVICE 4
#define NO_VECTOR 0xffff
#define RESET_ROUNDS 1000000

enum { /* struct virtio_pci_common_cfg */
    FEATURES_SELECT = 0x00, FEATURES = 0x04, DRIVER_FEATURES_SELECT = 0x08, DRIVER_FEATURES = 0x0c, CONFIG_VECTOR = 0x10, QUEUES = 0x12,
    STATUS = 0x14, QUEUE = 0x16, QUEUE_SIZE = 0x18, QUEUE_VECTOR = 0x1a, QUEUE_ENABLE = 0x1c, QUEUE_NOTIFY = 0x1e, QUEUE_DESCRIPTORS = 0x20,
    QUEUE_AVAILABLE = 0x28, QUEUE_USED = 0x30,
};
enum { /* legacy registers, with MSI-X on */
    L_FEATURES = 0x00, L_DRIVER_FEATURES = 0x04, L_QUEUE_PFN = 0x08, L_QUEUE_SIZE = 0x0c, L_QUEUE = 0x0e, L_NOTIFY = 0x10, L_STATUS = 0x12,
    L_CONFIG_VECTOR = 0x14, L_QUEUE_VECTOR = 0x16, L_CONFIG = 0x18,
};

struct function {
    struct hal_virtio virtio; /* first */
    struct hal_pci pci;
    volatile uint8_t *common, *notify, *config;
    uint32_t notify_multiplier, notify_size, config_size;
    uint16_t ports;
};

static struct function *of(struct hal_virtio *device) {
    return (struct function *)device;
}

static volatile uint16_t *common16(struct hal_virtio *device, unsigned reg) {
    return (volatile uint16_t *)(of(device)->common + reg);
}

static volatile uint32_t *common32(struct hal_virtio *device, unsigned reg) {
    return (volatile uint32_t *)(of(device)->common + reg);
}

static uint64_t modern_features(struct hal_virtio *device) {
    *common32(device, FEATURES_SELECT) = 0;
    uint64_t low = *common32(device, FEATURES);
    *common32(device, FEATURES_SELECT) = 1;
    return low | (uint64_t)*common32(device, FEATURES) << 32;
}

static void modern_set_features(struct hal_virtio *device, uint64_t features) {
    for (uint32_t i = 0; i < 2; i++) {
        *common32(device, DRIVER_FEATURES_SELECT) = i;
        *common32(device, DRIVER_FEATURES) = (uint32_t)(features >> 32 * i);
    }
}

static uint8_t modern_status(struct hal_virtio *device) {
    return of(device)->common[STATUS];
}

static void modern_set_status(struct hal_virtio *device, uint8_t status) {
    of(device)->common[STATUS] = status;
    for (unsigned i = 0; status == 0 && i < RESET_ROUNDS && of(device)->common[STATUS] != 0; i++)
        __asm__ volatile("pause");
}

static void modern_config_read(struct hal_virtio *device, unsigned offset, void *to, unsigned size) {
    for (unsigned i = 0; i < size; i++)
        ((uint8_t *)to)[i] = offset + i < of(device)->config_size ? of(device)->config[offset + i] : 0;
}

static uint16_t modern_queue_size(struct hal_virtio *device, unsigned index) {
    if (index >= *common16(device, QUEUES))
        return 0;
    *common16(device, QUEUE) = (uint16_t)index;
    return *common16(device, QUEUE_SIZE);
}

static void put_address(struct hal_virtio *device, unsigned reg, hal_phys_t address) {
    *common32(device, reg) = (uint32_t)address;
    *common32(device, reg + 4) = (uint32_t)(address >> 32);
}

static int modern_queue_start(struct hal_virtio *device, struct hal_virtqueue *queue) {
    struct hal_virtqueue_layout *layout = hal_virtqueue_layout(queue);
    *common16(device, QUEUE) = (uint16_t)layout->index;
    *common16(device, QUEUE_SIZE) = layout->size;
    put_address(device, QUEUE_DESCRIPTORS, layout->descriptors);
    put_address(device, QUEUE_AVAILABLE, layout->available);
    put_address(device, QUEUE_USED, layout->used);
    *common16(device, QUEUE_VECTOR) = 0;
    if (*common16(device, QUEUE_VECTOR) == NO_VECTOR)
        return -HAL_ENOSPC;
    uint64_t notify = (uint64_t)*common16(device, QUEUE_NOTIFY) * of(device)->notify_multiplier;
    if (notify + 2 > of(device)->notify_size)
        return -HAL_EINVAL;
    layout->notify_offset = (uint32_t)notify;
    *common16(device, QUEUE_ENABLE) = 1;
    return 0;
}

static void modern_notify(struct hal_virtio *device, struct hal_virtqueue *queue) {
    const struct hal_virtqueue_layout *layout = hal_virtqueue_layout(queue);
    *(volatile uint16_t *)(of(device)->notify + layout->notify_offset) = (uint16_t)layout->index;
}

static const struct hal_virtio_transport modern = {modern_features,   modern_set_features, modern_status,      modern_set_status, modern_config_read,
                                                   modern_queue_size, modern_queue_start,  modern_notify};

static uint64_t legacy_features(struct hal_virtio *device) {
    return hal_port_read32(of(device)->ports + L_FEATURES);
}

static void legacy_set_features(struct hal_virtio *device, uint64_t features) {
    hal_port_write32(of(device)->ports + L_DRIVER_FEATURES, (uint32_t)features);
}

static uint8_t legacy_status(struct hal_virtio *device) {
    return hal_port_read8(of(device)->ports + L_STATUS);
}

static void legacy_set_status(struct hal_virtio *device, uint8_t status) {
    hal_port_write8(of(device)->ports + L_STATUS, status);
}

static void legacy_config_read(struct hal_virtio *device, unsigned offset, void *to, unsigned size) {
    for (unsigned i = 0; i < size; i++)
        ((uint8_t *)to)[i] = hal_port_read8((uint16_t)(of(device)->ports + L_CONFIG + offset + i));
}

static uint16_t legacy_queue_size(struct hal_virtio *device, unsigned index) {
    hal_port_write16(of(device)->ports + L_QUEUE, (uint16_t)index);
    return hal_port_read16(of(device)->ports + L_QUEUE_SIZE);
}

static int legacy_queue_start(struct hal_virtio *device, struct hal_virtqueue *queue) {
    const struct hal_virtqueue_layout *layout = hal_virtqueue_layout(queue);
    hal_port_write16(of(device)->ports + L_QUEUE, (uint16_t)layout->index);
    hal_port_write32(of(device)->ports + L_QUEUE_PFN, (uint32_t)(layout->descriptors / HAL_PAGE_SIZE));
    hal_port_write16(of(device)->ports + L_QUEUE_VECTOR, 0);
    return hal_port_read16(of(device)->ports + L_QUEUE_VECTOR) == NO_VECTOR ? -HAL_ENOSPC : 0;
}

static void legacy_notify(struct hal_virtio *device, struct hal_virtqueue *queue) {
    hal_port_write16(of(device)->ports + L_NOTIFY, (uint16_t)hal_virtqueue_layout(queue)->index);
}

static const struct hal_virtio_transport legacy = {legacy_features,   legacy_set_features, legacy_status,      legacy_set_status, legacy_config_read,
                                                   legacy_queue_size, legacy_queue_start,  legacy_notify};

static void interrupt(void *context) {
    struct function *function = context;
    struct hal_virtio *device = &function->virtio;
    /* An unplugged function reads as all ones. */
    if (hal_pci_read16(&function->pci, 0) != VENDOR)
        device->gone = true;
    if (device->interrupt)
        device->interrupt(device->context);
    if (device->config_changed)
        device->config_changed(device->context);
}

/* Maps what one vendor capability (struct virtio_pci_cap) describes. */
static volatile uint8_t *map_capability(const struct hal_pci *pci, unsigned at, uint32_t *size) {
    uint64_t bar;
    bool ports;
    uint32_t offset = hal_pci_read32(pci, at + 8);
    *size = hal_pci_read32(pci, at + 12);
    if (!hal_pci_bar(pci, hal_pci_read8(pci, at + 4), &bar, &ports) || ports || *size == 0)
        return NULL;
    return hal_mmio_map(bar + offset, *size);
}

static bool find_modern(struct function *function) {
    uint32_t size;
    for (unsigned at = hal_pci_capability(&function->pci, CAPABILITY_VENDOR, 0); at; at = hal_pci_capability(&function->pci, CAPABILITY_VENDOR, at)) {
        switch (hal_pci_read8(&function->pci, at + 3)) {
        case CONFIG_COMMON:
            if (!function->common)
                function->common = map_capability(&function->pci, at, &size);
            break;
        case CONFIG_NOTIFY:
            if (!function->notify) {
                function->notify = map_capability(&function->pci, at, &function->notify_size);
                function->notify_multiplier = hal_pci_read32(&function->pci, at + 16);
            }
            break;
        case CONFIG_DEVICE:
            if (!function->config)
                function->config = map_capability(&function->pci, at, &function->config_size);
            break;
        default:
            break;
        }
    }
    if (!function->config)
        function->config_size = 0;
    return function->common && function->notify;
}

static int probe(const struct hal_pci *pci) {
    if (pci->vendor != VENDOR || pci->id < 0x1000 || pci->id > 0x107f)
        return -HAL_ENXIO;
    struct function *function = hal_driver_alloc(sizeof *function);
    if (!function)
        return -HAL_ENOMEM;
    function->pci = *pci;
    hal_pci_enable(pci);
    uint64_t address;
    bool ports;
    if (find_modern(function)) {
        function->virtio.transport = &modern;
        function->virtio.id = pci->id >= 0x1040 ? pci->id - 0x1040u : hal_pci_read16(pci, 0x2e);
    } else if (pci->id < 0x1040 && hal_pci_bar(pci, 0, &address, &ports) && ports) {
        function->virtio.transport = &legacy;
        function->virtio.legacy = true;
        function->virtio.id = hal_pci_read16(pci, 0x2e); /* the subsystem's id */
        function->ports = (uint16_t)address;
    } else {
        hal_driver_log("virtio-pci", "a device at %02x:%02x.%u has no registers that the firmware placed", pci->bus, pci->device, pci->function);
        return -HAL_ENXIO;
    }
    int status = hal_pci_msix(pci, (struct hal_irq){interrupt, function});
    if (status != 0) {
        hal_driver_log("virtio-pci", "a device at %02x:%02x.%u gets no MSI-X interrupt: error %d", pci->bus, pci->device, pci->function, -status);
        return status;
    }
    if (function->virtio.legacy)
        hal_port_write16(function->ports + L_CONFIG_VECTOR, 0);
    else
        *common16(&function->virtio, CONFIG_VECTOR) = 0;
    hal_virtio_found(&function->virtio);
    return 0;
}

static const struct hal_pci_driver virtio_pci = {"virtio-pci", probe};
HAL_PCI_DRIVER_TABLE(virtio_pci);
