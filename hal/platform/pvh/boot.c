#include "hal/boot.h"

#include "hal/kernel.h"
#include "hal/string.h"
#include "pvh.h"
#include "start_info.h"

#define MAX_REGIONS 32
#define MAX_MAP_ENTRIES 128
#define MAX_COMMAND_LINE 2048

extern const struct start_info *pvh_start_info;
extern char image_begin[], image_end[];

void pvh_main(void);

uint64_t pvh_rsdp;
static struct hal_boot boot;
static char command_line[MAX_COMMAND_LINE];
static struct hal_region regions[MAX_REGIONS];
static size_t region_count;

const struct hal_boot *hal_boot(void) {
    return &boot;
}

const struct hal_region *hal_memory_regions(size_t *count) {
    *count = region_count;
    return regions;
}

/* Adds [start, end), page-aligned inwards, without what overlaps [hole_start, hole_end). */
static void add_region(uint64_t start, uint64_t end, const struct hal_region *holes, size_t count) {
    start = (start + HAL_PAGE_MASK) & ~(uint64_t)HAL_PAGE_MASK;
    end &= ~(uint64_t)HAL_PAGE_MASK;
    if (start >= end)
        return;
    for (size_t i = 0; i < count; i++) {
        uint64_t hole_end = holes[i].base + holes[i].size;
        if (holes[i].base < end && hole_end > start) {
            add_region(start, holes[i].base > start ? holes[i].base : start, holes + i + 1, count - i - 1);
            add_region(hole_end < end ? hole_end : end, end, holes + i + 1, count - i - 1);
            return;
        }
    }
    if (region_count < MAX_REGIONS)
        regions[region_count++] = (struct hal_region){start, end - start};
}

/* Physical memory below 1 GiB is mapped from the start; start info and what it points to are there. */
static const void *boot_data(uint64_t address) {
    return address < 0x40000000 ? (const void *)(PVH_DIRECT_BASE + address) : NULL;
}

static void read_start_info(void) {
    const struct start_info *info = boot_data((uintptr_t)pvh_start_info);
    boot.command_line = command_line;
    if (!info || info->magic != START_MAGIC)
        hal_panic("The machine was not started by PVH: the start info's magic is missing.");
    pvh_rsdp = info->rsdp;
    const char *line = info->command_line ? boot_data(info->command_line) : NULL;
    if (line)
        memcpy(command_line, line, strnlen(line, MAX_COMMAND_LINE - 1));

    struct hal_region holes[3] = {{0, HAL_PAGE_SIZE},
                                  {(uintptr_t)image_begin - PVH_KERNEL_BASE, (uintptr_t)(image_end - image_begin)}};
    size_t hole_count = 2;
    const struct start_module *module = info->module_count ? boot_data(info->modules) : NULL;
    if (module && module->size) {
        boot.initrd = (const void *)(PVH_DIRECT_BASE + module->address);
        boot.initrd_size = module->size;
        uint64_t end = (module->address + module->size + HAL_PAGE_MASK) & ~(uint64_t)HAL_PAGE_MASK;
        holes[hole_count++] = (struct hal_region){module->address & ~(uint64_t)HAL_PAGE_MASK, end - module->address};
    }
    const struct start_map_entry *map = boot_data(info->map);
    if (info->version < 1 || !map)
        hal_panic("The firmware passed no memory map.");
    struct start_map_entry copy[MAX_MAP_ENTRIES];
    size_t entries = info->map_entries < MAX_MAP_ENTRIES ? info->map_entries : MAX_MAP_ENTRIES;
    memcpy(copy, map, entries * sizeof copy[0]);
    for (size_t i = 0; i < entries; i++) {
        /* qboot leaves one entry all zero; a size of zero adds nothing. */
        if (copy[i].type != START_MAP_RAM || copy[i].size == 0 || copy[i].address + copy[i].size < copy[i].address)
            continue;
        add_region(copy[i].address, copy[i].address + copy[i].size, holes, hole_count);
    }
    for (size_t i = 0; i < region_count; i++)
        for (size_t j = i + 1; j < region_count; j++)
            if (regions[j].base < regions[i].base) {
                struct hal_region other = regions[i];
                regions[i] = regions[j];
                regions[j] = other;
            }
}

void pvh_main(void) {
    pvh_serial_init();
    pvh_mmu_init();
    pvh_trap_init();
    pvh_cpu_init();
    read_start_info();
    pvh_apic_init();
    pvh_clock_init();
    pvh_serial_control_input();
    kernel_main();
}

void hal_memory_ready(void) {
    for (size_t i = 0; i < region_count; i++)
        pvh_mmu_map_ram(regions[i].base, regions[i].size);
}
