/*
 * The two UARTs of the contract between host and guest, fw_cfg, and the end of the machine. National Semiconductor
 * PC16550D data sheet; QEMU docs/specs/fw_cfg.rst.
 */
#include "hal/boot.h"
#include "hal/kernel.h"
#include "hal/log.h"
#include "hal/string.h"
#include "pvh.h"

#define CONSOLE 0x3f8
#define CONTROL 0x2f8
#define CONTROL_LINE 3
#define FIFO_SIZE 16
#define WAIT_ROUNDS 1000000
#define FW_CFG_SELECT 0x510
#define FW_CFG_DATA 0x511
#define FW_CFG_DMA_HIGH 0x514
#define FW_CFG_DMA_LOW 0x518
#define FW_CFG_ID 0x0001
#define FW_CFG_DIRECTORY 0x0019
#define EXIT_PORT 0x501

static bool present[2];

static bool uart_init(uint16_t port) {
    outb(port + 7, 0x5a);
    if (inb(port + 7) != 0x5a)
        return false;
    outb(port + 1, 0);    /* no interrupts until a driver wants them */
    outb(port + 3, 0x80); /* divisor 1: 115200 baud */
    outb(port, 1);
    outb(port + 1, 0);
    outb(port + 3, 0x03); /* 8N1 */
    outb(port + 2, 0x07); /* FIFOs on and empty */
    outb(port + 4, 0x0b); /* DTR, RTS, OUT2: the interrupt line is connected */
    return true;
}

void pvh_serial_init(void) {
    present[0] = uart_init(CONSOLE);
    present[1] = uart_init(CONTROL);
}

static void uart_write(uint16_t port, const char *text, size_t length) {
    while (length > 0) {
        for (unsigned round = 0; !(inb(port + 5) & 0x20); round++)
            if (round == WAIT_ROUNDS)
                return; /* nobody takes it: dropping beats hanging */
        for (size_t i = 0; i < FIFO_SIZE && length > 0; i++, length--)
            outb(port, (uint8_t)*text++);
    }
}

void hal_log(const char *text, size_t length) {
    if (present[0])
        uart_write(CONSOLE, text, length);
}

void hal_control_send(const char *line) {
    if (!present[1])
        return;
    uart_write(CONTROL, line, strlen(line));
    uart_write(CONTROL, "\n", 1);
}

/* What the host sends, a line at a time; a line that is too long is dropped as a whole. */
static void control_interrupt(void *context) {
    static char line[256];
    static size_t length;
    (void)context;
    while (inb(CONTROL + 5) & 1) {
        char c = (char)inb(CONTROL);
        if (c != '\n') {
            if (length < sizeof line)
                line[length] = c;
            length += length < sizeof line;
            continue;
        }
        if (length < sizeof line) {
            line[length] = '\0';
            kernel_control(line);
        }
        length = 0;
    }
}

void pvh_serial_control_input(void) {
    if (present[1] && hal_irq_connect(CONTROL_LINE, false, (struct hal_irq){control_interrupt, NULL}) == 0)
        outb(CONTROL + 1, 1); /* tell of received bytes */
}

HAL_NORETURN void hal_exit(unsigned code) {
    outb(EXIT_PORT, (uint8_t)code);
    /* No such device: reset by the PCI host's register, then by a triple fault. */
    outb(0xcf9, 0x06);
    struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) none = {0, 0};
    __asm__ volatile("lidt %0; int3" : : "m"(none));
    for (;;)
        __asm__ volatile("cli; hlt");
}

struct fw_cfg_file {
    uint32_t size; /* both big-endian */
    uint16_t select;
    uint16_t reserved;
    char name[56];
};

struct fw_cfg_dma {
    uint32_t control, length;
    uint64_t address; /* all big-endian */
};

static bool fw_cfg_has_dma;

static void fw_cfg_read(const uint16_t *select, void *to, uint32_t size) {
    if (!fw_cfg_has_dma) {
        if (select)
            outw(FW_CFG_SELECT, *select);
        uint8_t *bytes = to;
        for (uint32_t i = 0; i < size; i++)
            bytes[i] = inb(FW_CFG_DATA);
        return;
    }
    /* The device reads and writes by physical address; its answer is complete when the second write returns. */
    static volatile struct fw_cfg_dma dma;
    uint32_t control = 0x02 | (select ? 0x08u | (uint32_t)*select << 16 : 0);
    dma.control = __builtin_bswap32(control);
    dma.length = __builtin_bswap32(size);
    dma.address = __builtin_bswap64(hal_virt_to_phys(to));
    uint64_t where = (uintptr_t)&dma - PVH_KERNEL_BASE;
    outl(FW_CFG_DMA_HIGH, __builtin_bswap32((uint32_t)(where >> 32)));
    outl(FW_CFG_DMA_LOW, __builtin_bswap32((uint32_t)where));
}

int64_t hal_settings_read(void *buffer, size_t size) {
    static const uint16_t id = FW_CFG_ID, directory = FW_CFG_DIRECTORY;
    outw(FW_CFG_SELECT, 0);
    if (inb(FW_CFG_DATA) != 'Q' || inb(FW_CFG_DATA) != 'E' || inb(FW_CFG_DATA) != 'M' || inb(FW_CFG_DATA) != 'U')
        return 0;
    uint32_t features = 0, count = 0;
    fw_cfg_read(&id, &features, sizeof features);
    fw_cfg_has_dma = features & 2;
    fw_cfg_read(&directory, &count, sizeof count);
    count = __builtin_bswap32(count);
    static struct fw_cfg_file files[8];
    for (uint32_t done = 0; done < count;) {
        uint32_t now = count - done < 8 ? count - done : 8;
        fw_cfg_read(NULL, files, now * (uint32_t)sizeof files[0]);
        for (uint32_t i = 0; i < now; i++) {
            if (strncmp(files[i].name, "opt/rumpel/settings", sizeof files[i].name) != 0)
                continue;
            uint32_t length = __builtin_bswap32(files[i].size);
            if (length > size)
                return -HAL_ENOSPC;
            uint16_t select = __builtin_bswap16(files[i].select);
            if (length)
                fw_cfg_read(&select, buffer, length);
            return length;
        }
        done += now;
    }
    return 0;
}
