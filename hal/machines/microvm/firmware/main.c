/*
 * The firmware of a machine that boots one kernel: what QEMU was given by `-kernel`, `-initrd` and `-append` comes out
 * of its firmware configuration device (QEMU docs/specs/fw_cfg.rst), and is handed on as PVH wants it (start_info.h). The
 * kernel itself is in memory already: QEMU loads ELF files.
 *
 * It runs from ROM without variables; what it hands on lies below 640 KiB, where the kernel reads it before it uses
 * that memory. There are no tables: neither ACPI nor SMBIOS nor an MP table.
 */
#include <stddef.h>
#include <stdint.h>

#include "../../../platform/pvh/start_info.h"

enum {
    FW_CFG_SELECT = 0x510,
    FW_CFG_DATA = 0x511,
    FW_CFG_DMA = 0x514,
    FW_CFG_ID = 0x01,
    FW_CFG_INITRD_ADDRESS = 0x0a,
    FW_CFG_INITRD_SIZE = 0x0b,
    FW_CFG_KERNEL_ENTRY = 0x10,
    FW_CFG_INITRD_DATA = 0x12,
    FW_CFG_COMMAND_LINE_SIZE = 0x14,
    FW_CFG_COMMAND_LINE_DATA = 0x15,
    FW_CFG_FILE_DIRECTORY = 0x19,
    ID_HAS_DMA = 2,
    DMA_ERROR = 1,
    DMA_READ = 2,
    DMA_SELECT = 8,

    START_INFO = 0x7000, /* behind the stack */
    COMMAND_LINE = 0x8000,
    COMMAND_LINE_SIZE = 0x1000,
    MEMORY_MAP = 0x9000,
    MAX_RANGES = 64,

    LOW_MEMORY_END = 0xa0000,    /* the PC's hole for devices and firmware: from here */
    HIGH_MEMORY_BEGIN = 0x100000, /* to here */

    CONSOLE = 0x3f8,
    EXIT_PORT = 0x501,
};

struct dma {
    uint32_t control, length;
    uint64_t address;
}; /* big endian */

struct file {
    uint32_t size;
    uint16_t select, reserved;
    char name[56];
}; /* big endian */

struct range {
    uint64_t address, length;
    uint32_t type;
} __attribute__((packed)); /* of `etc/e820` */

struct start {
    struct start_info info;
    struct start_module module;
};

uint64_t firmware_main(void);

static void out8(uint16_t port, uint8_t value) {
    __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static void out16(uint16_t port, uint16_t value) {
    __asm__ volatile("outw %0, %1" : : "a"(value), "Nd"(port));
}

static void out32(uint16_t port, uint32_t value) {
    __asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static uint8_t in8(uint16_t port) {
    uint8_t value;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static uint32_t swap(uint32_t value) {
    return __builtin_bswap32(value);
}

static _Noreturn void fail(const char *why) {
    while (*why)
        out8(CONSOLE, (uint8_t)*why++);
    out8(EXIT_PORT, 0x7f);
    for (;;)
        __asm__ volatile("cli; hlt");
}

/* The device has done it when the write to its port ends. `select` negative: goes on behind what was read before. */
static void read_into(int select, void *target, uint32_t size) {
    volatile struct dma dma = {
        .control = swap(DMA_READ | (select < 0 ? 0 : DMA_SELECT | (uint32_t)select << 16)),
        .length = swap(size),
        .address = (uint64_t)swap((uintptr_t)target) << 32,
    };
    out32(FW_CFG_DMA + 4, swap((uintptr_t)&dma)); /* the upper half of the address is zero, from the reset on */
    if (dma.control)
        fail("The firmware could not read its configuration.\n");
}

static uint32_t read_number(int select) {
    uint32_t value;
    read_into(select, &value, sizeof value);
    return value;
}

static int same_name(const char *one, const char *other) {
    while (*one && *one == *other)
        one++, other++;
    return *one == *other;
}

/* The key of a file of the configuration; its size goes to `*size`. */
static int find_file(const char *name, uint32_t *size) {
    uint32_t count = swap(read_number(FW_CFG_FILE_DIRECTORY));
    for (uint32_t i = 0; i < count; i++) {
        struct file file;
        read_into(-1, &file, sizeof file);
        if (same_name(file.name, name)) {
            *size = swap(file.size);
            return file.select >> 8 | (file.select & 0xff) << 8;
        }
    }
    fail("The firmware's configuration has no memory map.\n");
}

static uint32_t add(struct start_map_entry *map, uint32_t count, uint64_t begin, uint64_t end, uint32_t type) {
    if (begin < end && count < MAX_RANGES)
        map[count++] = (struct start_map_entry){begin, end - begin, type, 0};
    return count;
}

/* QEMU's own ranges, without the PC's hole below 1 MiB, in which the firmware shows itself once more. */
static uint32_t read_memory_map(struct start_map_entry *map) {
    uint32_t size, count = 0;
    int key = find_file("etc/e820", &size);
    for (uint32_t at = 0; at + sizeof(struct range) <= size; at += sizeof(struct range)) {
        struct range range;
        read_into(at ? -1 : key, &range, sizeof range);
        uint64_t end = range.address + range.length;
        if (range.type != START_MAP_RAM || range.address >= HIGH_MEMORY_BEGIN) {
            count = add(map, count, range.address, end, range.type);
            continue;
        }
        count = add(map, count, range.address, end < LOW_MEMORY_END ? end : LOW_MEMORY_END, START_MAP_RAM);
        count = add(map, count, HIGH_MEMORY_BEGIN, end, START_MAP_RAM);
    }
    return count;
}

/* Returns the kernel's entry in the lower half, the address of the start info in the upper one. */
uint64_t firmware_main(void) {
    out8(0x21, 0xff); /* the PICs stay closed: nobody has told them their vectors */
    out8(0xa1, 0xff);
    out16(FW_CFG_SELECT, FW_CFG_ID);
    if (!(in8(FW_CFG_DATA) & ID_HAS_DMA))
        fail("The firmware needs a configuration device with DMA.\n");

    struct start *start = (struct start *)START_INFO;
    struct start_map_entry *map = (struct start_map_entry *)MEMORY_MAP;
    *start = (struct start){.info = {.magic = START_MAGIC, .version = 1, .map = MEMORY_MAP}};
    uint32_t length = read_number(FW_CFG_COMMAND_LINE_SIZE);
    if (length > COMMAND_LINE_SIZE)
        fail("The kernel's command line is too long.\n");
    if (length) {
        read_into(FW_CFG_COMMAND_LINE_DATA, (void *)COMMAND_LINE, length);
        start->info.command_line = COMMAND_LINE;
    }
    uint32_t size = read_number(FW_CFG_INITRD_SIZE);
    if (size) {
        uint32_t address = read_number(FW_CFG_INITRD_ADDRESS);
        read_into(FW_CFG_INITRD_DATA, (void *)address, size);
        start->module = (struct start_module){.address = address, .size = size};
        start->info.modules = (uintptr_t)&start->module;
        start->info.module_count = 1;
    }
    start->info.map_entries = read_memory_map(map);
    uint32_t entry = read_number(FW_CFG_KERNEL_ENTRY);
    if (!entry)
        fail("The firmware was given no kernel.\n");
    return (uint64_t)START_INFO << 32 | entry;
}
