/*
 * Virtio over MMIO: VIRTIO 1.1, section 4.2; version 1 of the registers is 4.2.4 (legacy).
 *
 * Devices are named on the command line (`virtio_mmio.device=SIZE@ADDRESS:LINE`) or found at the fixed slots of QEMU's
 * microvm: 512 bytes each from 0xfeb00000, on the lines from 5 on (one I/O APIC) or 24 on (two).
 */
#include "hal/boot.h"
#include "hal/cpu.h"
#include "hal/driver.h"
#include "hal/memory.h"
#include "hal/string.h"
#include "hal/virtio.h"

#define MAGIC 0x000
#define VERSION 0x004
#define DEVICE_ID 0x008
#define DEVICE_FEATURES 0x010
#define DEVICE_FEATURES_SEL 0x014
#define DRIVER_FEATURES 0x020
#define DRIVER_FEATURES_SEL 0x024
#define GUEST_PAGE_SIZE 0x028 /* legacy */
#define QUEUE_SEL 0x030
#define QUEUE_NUM_MAX 0x034
#define QUEUE_NUM 0x038
#define QUEUE_ALIGN 0x03c /* legacy */
#define QUEUE_PFN 0x040   /* legacy */
#define QUEUE_READY 0x044
#define QUEUE_NOTIFY 0x050
#define INTERRUPT_STATUS 0x060
#define INTERRUPT_ACK 0x064
#define STATUS 0x070
#define QUEUE_DESC 0x080
#define QUEUE_DRIVER 0x090
#define QUEUE_DEVICE 0x0a0
#define CONFIG 0x100

#define MAGIC_VALUE 0x74726976
#define SLOT_BASE 0xfeb00000
#define SLOT_SIZE 0x200
#define INTERRUPT_QUEUE 1
#define INTERRUPT_CONFIG 2
#define RESET_TRIES 1000000

struct mmio {
    struct hal_virtio device;
    volatile uint32_t *registers;
};

static struct mmio *mmio_of(struct hal_virtio *device) {
    return (struct mmio *)((char *)device - offsetof(struct mmio, device));
}
static uint32_t get(struct hal_virtio *device, unsigned offset) {
    return mmio_of(device)->registers[offset / 4];
}
static void put(struct hal_virtio *device, unsigned offset, uint32_t value) {
    mmio_of(device)->registers[offset / 4] = value;
}

static uint64_t features(struct hal_virtio *device) {
    put(device, DEVICE_FEATURES_SEL, 0);
    uint64_t low = get(device, DEVICE_FEATURES);
    put(device, DEVICE_FEATURES_SEL, 1);
    return low | (uint64_t)get(device, DEVICE_FEATURES) << 32;
}

static void set_features(struct hal_virtio *device, uint64_t value) {
    put(device, DRIVER_FEATURES_SEL, 0);
    put(device, DRIVER_FEATURES, (uint32_t)value);
    put(device, DRIVER_FEATURES_SEL, 1);
    put(device, DRIVER_FEATURES, (uint32_t)(value >> 32));
    if (device->legacy)
        put(device, GUEST_PAGE_SIZE, HAL_PAGE_SIZE);
}

static uint8_t status(struct hal_virtio *device) {
    return (uint8_t)get(device, STATUS);
}

static void set_status(struct hal_virtio *device, uint8_t value) {
    put(device, STATUS, value);
    for (unsigned i = 0; value == 0 && i < RESET_TRIES && status(device) != 0; i++)
        ;
}

static void config_read(struct hal_virtio *device, unsigned offset, void *to, unsigned size) {
    volatile const uint8_t *config = (volatile const uint8_t *)mmio_of(device)->registers + CONFIG + offset;
    for (unsigned i = 0; i < size; i++)
        ((uint8_t *)to)[i] = config[i];
}

static uint16_t queue_size(struct hal_virtio *device, unsigned index) {
    put(device, QUEUE_SEL, index);
    uint32_t size = get(device, QUEUE_NUM_MAX);
    return (uint16_t)(size > 32768 ? 32768 : size);
}

static int queue_start(struct hal_virtio *device, struct hal_virtqueue *queue) {
    const struct hal_virtqueue_layout *layout = hal_virtqueue_layout(queue);
    put(device, QUEUE_SEL, layout->index);
    put(device, QUEUE_NUM, layout->size);
    if (device->legacy) {
        if (layout->descriptors >> HAL_PAGE_SHIFT > UINT32_MAX)
            return -HAL_EINVAL;
        put(device, QUEUE_ALIGN, HAL_PAGE_SIZE);
        put(device, QUEUE_PFN, (uint32_t)(layout->descriptors >> HAL_PAGE_SHIFT));
        return 0;
    }
    const hal_phys_t addresses[3] = {layout->descriptors, layout->available, layout->used};
    const unsigned registers[3] = {QUEUE_DESC, QUEUE_DRIVER, QUEUE_DEVICE};
    for (unsigned i = 0; i < 3; i++) {
        put(device, registers[i], (uint32_t)addresses[i]);
        put(device, registers[i] + 4, (uint32_t)(addresses[i] >> 32));
    }
    put(device, QUEUE_READY, 1);
    return 0;
}

static void notify(struct hal_virtio *device, struct hal_virtqueue *queue) {
    put(device, QUEUE_NOTIFY, hal_virtqueue_layout(queue)->index);
}

static const struct hal_virtio_transport transport = {features,   set_features, status,      set_status, config_read,
                                                      queue_size, queue_start,  notify};

static void interrupt(void *context) {
    struct hal_virtio *device = context;
    uint32_t cause = get(device, INTERRUPT_STATUS);
    /* A register of a device that is no longer there reads as all ones. */
    if (cause == 0 || cause == UINT32_MAX)
        return;
    /* Before the queues are looked at: what comes in after this raises the line again. */
    put(device, INTERRUPT_ACK, cause);
    if (cause & INTERRUPT_CONFIG && device->config_changed)
        device->config_changed(device->context);
    if (cause & INTERRUPT_QUEUE && device->interrupt)
        device->interrupt(device->context);
}

static bool try_slot(hal_phys_t address, unsigned line) {
    volatile uint32_t *registers = hal_mmio_map(address, SLOT_SIZE);
    if (!registers || registers[MAGIC / 4] != MAGIC_VALUE)
        return false;
    uint32_t version = registers[VERSION / 4], id = registers[DEVICE_ID / 4];
    if (id == 0 || version < 1 || version > 2)
        return true;
    struct mmio *mmio = hal_driver_alloc(sizeof *mmio);
    if (!mmio)
        return true;
    mmio->registers = registers;
    mmio->device = (struct hal_virtio){.transport = &transport, .id = id, .legacy = version == 1, .legacy_resizable = version == 1};
    int error = hal_irq_connect(line, false, (struct hal_irq){interrupt, &mmio->device});
    if (error != 0) {
        hal_driver_log("virtio-mmio", "The interrupt line %u of the device at %lx cannot be used (error %d).", line, address, -error);
        return true;
    }
    hal_virtio_found(&mmio->device);
    return true;
}

/* A number as strtoul with base 0 reads it: decimal, or hexadecimal after 0x. */
static bool number(const char **text, uint64_t *value) {
    const char *at = *text;
    unsigned base = 10;
    if (at[0] == '0' && (at[1] == 'x' || at[1] == 'X')) {
        base = 16;
        at += 2;
    }
    const char *begin = at;
    *value = 0;
    for (;; at++) {
        unsigned digit = *at >= '0' && *at <= '9' ? (unsigned)(*at - '0') : (*at | 32) >= 'a' && (*at | 32) <= 'f' ? (unsigned)((*at | 32) - 'a') + 10 : 16;
        if (digit >= base)
            break;
        if (*value > (UINT64_MAX - digit) / base)
            return false;
        *value = *value * base + digit;
    }
    *text = at;
    return at > begin;
}

/* One word of the command line: SIZE[K|M]@ADDRESS:LINE[:ID]. */
static void from_word(const char *word) {
    uint64_t size, address, line;
    const char *at = word;
    if (number(&at, &size)) {
        if (*at == 'K' || *at == 'M')
            at++;
        if (*at++ == '@' && number(&at, &address) && *at++ == ':' && number(&at, &line) && line < 256 && address % 4 == 0 &&
            (address & HAL_PAGE_MASK) <= HAL_PAGE_SIZE - SLOT_SIZE) {
            if (!try_slot(address, (unsigned)line))
                hal_driver_log("virtio-mmio", "No virtio device is at %lx, which the command line names.", address);
            return;
        }
    }
    hal_driver_log("virtio-mmio", "'virtio_mmio.device=%.40s' on the command line is not SIZE@ADDRESS:LINE.", word);
}

static void start(void) {
    static const char key[] = "virtio_mmio.device=";
    bool named = false;
    for (const char *at = hal_boot()->command_line; *at;) {
        if (strncmp(at, key, sizeof key - 1) == 0) {
            from_word(at + sizeof key - 1);
            named = true;
        }
        while (*at && *at != ' ')
            at++;
        while (*at == ' ')
            at++;
    }
    if (named)
        return;
    bool two = hal_irq_lines() > 24;
    for (unsigned i = 0; i < (two ? 24u : 8u); i++)
        if (!try_slot(SLOT_BASE + (hal_phys_t)i * SLOT_SIZE, (two ? 24 : 5) + i))
            break;
}

static const struct hal_driver driver = {"virtio-mmio", 0, start};
HAL_DRIVER_TABLE(driver);
