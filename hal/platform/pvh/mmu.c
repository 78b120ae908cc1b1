/*
 * Page tables. Intel SDM volume 3, section 4.5 (4-level paging).
 *
 * The kernel's half: all RAM at PVH_DIRECT_BASE (2 MiB or 1 GiB pages, never executable), stacks, and the image in the
 * top 2 GiB, whose first 2 MiB are one table of 4 KiB pages that the direct map shares: so the image's text is read-only
 * in both places.
 */
#include "hal/kernel.h"
#include "hal/string.h"
#include "pvh.h"

#define PRESENT 0x001ull
#define WRITE 0x002ull
#define USER 0x004ull
#define UNCACHED 0x018ull
#define DIRTY 0x040ull
#define LARGE 0x080ull
#define GLOBAL 0x100ull
#define OWNED 0x200ull /* bits 9 to 11 are ours */
#define NONE 0x400ull  /* mapped with no right: PRESENT is off */
#define NX (1ull << 63)
#define ADDRESS 0x000ffffffffff000ull

extern uint64_t pvh_root_table[512], boot_pointers_low[512], boot_pointers_high[512], boot_directory[512];
extern char image_begin[], text_end[], rodata_end[], image_end[];

static uint64_t image_table[512] __attribute__((section(".bss.pages"), aligned(4096)));
static uint64_t image_directory[512] __attribute__((section(".bss.pages"), aligned(4096)));
/* The GiB below 4 GiB: the APICs there are needed before there is a page allocator. */
static uint64_t device_directory[512] __attribute__((section(".bss.pages"), aligned(4096)));
static bool has_large_1g;

static uint64_t image_phys(const void *pointer) {
    return (uintptr_t)pointer - PVH_KERNEL_BASE;
}

void *hal_phys_to_virt(hal_phys_t address) {
    return (void *)(PVH_DIRECT_BASE + address);
}

hal_phys_t hal_virt_to_phys(const void *pointer) {
    uintptr_t address = (uintptr_t)pointer;
    return address >= PVH_KERNEL_BASE ? address - PVH_KERNEL_BASE : address - PVH_DIRECT_BASE;
}

static void flush(uintptr_t address) {
    __asm__ volatile("invlpg (%0)" : : "r"(address) : "memory");
}

/* Everything, global pages too. */
static void flush_all(void) {
    uint64_t cr4;
    __asm__ volatile("mov %%cr4, %0" : "=r"(cr4));
    __asm__ volatile("mov %0, %%cr4; mov %1, %%cr4" : : "r"(cr4 & ~0x80ull), "r"(cr4) : "memory");
}

void pvh_mmu_init(void) {
    for (uint64_t i = 0; i < 512; i++) {
        uint64_t page = i << 12, virtual = PVH_KERNEL_BASE + page, flags = PRESENT | WRITE | GLOBAL | NX;
        if (virtual >= (uintptr_t)image_begin && virtual < (uintptr_t)text_end)
            flags = PRESENT | GLOBAL;
        else if (virtual >= (uintptr_t)text_end && virtual < (uintptr_t)rodata_end)
            flags = PRESENT | GLOBAL | NX;
        image_table[i] = page | flags;
    }
    image_directory[0] = image_phys(image_table) | PRESENT | WRITE;
    /* The tables must be full before they are put under the code that runs. */
    __asm__ volatile("" : : : "memory");
    boot_pointers_high[510] = image_phys(image_directory) | PRESENT | WRITE;
    boot_directory[0] = image_phys(image_table) | PRESENT | WRITE;
    boot_pointers_low[3] = image_phys(device_directory) | PRESENT | WRITE;
    pvh_root_table[256] |= NX;
    for (unsigned i = 1; i < 512; i++)
        boot_directory[i] |= NX;
    pvh_root_table[0] = 0;
    has_large_1g = cpuid(0x80000000, 0).a >= 0x80000001 && cpuid(0x80000001, 0).d & (1u << 26);
    flush_all();
}

/* The table below `entry`, made if there is none and `make` gives the flags of a new one. */
static uint64_t *table_below(uint64_t *entry, uint64_t make) {
    if (!(*entry & PRESENT)) {
        if (!make)
            return NULL;
        hal_phys_t page = kernel_page_alloc();
        if (!page)
            return NULL;
        memset(hal_phys_to_virt(page), 0, HAL_PAGE_SIZE);
        *entry = page | make;
    }
    return hal_phys_to_virt(*entry & ADDRESS);
}

static unsigned slot(uintptr_t address, unsigned level) {
    return (unsigned)(address >> (12 + 9 * level)) & 511;
}

/* The entry for `address` at `level` (0: page, 1: 2 MiB, 2: 1 GiB), NULL if absent or memory is short. */
static uint64_t *walk(uintptr_t address, unsigned level, uint64_t make) {
    uint64_t *table = pvh_root_table;
    for (unsigned at = 3; at > level; at--) {
        uint64_t *entry = &table[slot(address, at)];
        if ((*entry & (PRESENT | LARGE)) == (PRESENT | LARGE))
            return NULL;
        table = table_below(entry, make);
        if (!table)
            return NULL;
    }
    return &table[slot(address, level)];
}

/* RAM above the first GiB, which is mapped from the start. Needs kernel_page_alloc() without 1 GiB pages. */
void pvh_mmu_map_ram(hal_phys_t base, uint64_t size) {
    hal_phys_t end = base + size;
    for (hal_phys_t at = base & ~0x3fffffffull; at < end; at += 0x40000000) {
        if (at < 0x40000000)
            continue;
        uint64_t *entry = walk(PVH_DIRECT_BASE + at, 2, PRESENT | WRITE);
        if (!entry || (*entry & LARGE))
            continue;
        if (has_large_1g && !(*entry & PRESENT)) {
            *entry = at | PRESENT | WRITE | LARGE | GLOBAL | NX;
            continue;
        }
        uint64_t *directory = table_below(entry, PRESENT | WRITE);
        for (uint64_t i = 0; directory && i < 512; i++) {
            hal_phys_t page = at + (i << 21);
            if (page < end && page + 0x200000 > base && !(directory[i] & PRESENT))
                directory[i] = page | PRESENT | WRITE | LARGE | GLOBAL | NX;
        }
    }
}

/* Whether the CPU has such addresses, and the direct map a place for them. */
static bool is_addressable(hal_phys_t address, size_t size) {
    uint64_t end = 1ull << 32;
    if (address < end && size <= end - address)
        return true; /* without asking, as at each start */
    unsigned bits = cpuid(0x80000000, 0).a >= 0x80000008 ? cpuid(0x80000008, 0).a & 0xff : 36;
    end = bits < 46 ? 1ull << bits : PVH_STACK_BASE - PVH_DIRECT_BASE;
    return address < end && size <= end - address;
}

volatile void *hal_mmio_map(hal_phys_t address, size_t size) {
    if (!is_addressable(address, size))
        return NULL;
    for (hal_phys_t at = address & ~0x1fffffull; at < address + size; at += 0x200000) {
        uint64_t *entry = walk(PVH_DIRECT_BASE + at, 1, PRESENT | WRITE);
        if (!entry)
            return NULL;
        if (!(*entry & PRESENT))
            *entry = at | PRESENT | WRITE | UNCACHED | LARGE | GLOBAL | NX;
    }
    return (volatile void *)(PVH_DIRECT_BASE + address);
}

bool pvh_mmu_readable(uintptr_t address) {
    if ((address >> 47) != 0 && (address >> 47) != 0x1ffff)
        return false;
    for (unsigned level = 0; level < 3; level++) {
        uint64_t *entry = walk(address, level, 0);
        if (entry && *entry & PRESENT)
            return level == 0 || *entry & LARGE;
    }
    return false;
}

/* Stacks: fixed-size slots with at least one unmapped page below each; a bitmap of slots in use. */
#define STACK_SLOT 0x10000ull
#define STACK_SLOTS 4096
static uint64_t stack_slots[STACK_SLOTS / 64];

void *hal_stack_create(size_t size) {
    if (size == 0 || size > STACK_SLOT - HAL_PAGE_SIZE || size & HAL_PAGE_MASK)
        return NULL;
    unsigned index = 0;
    while (index < STACK_SLOTS && stack_slots[index / 64] >> (index % 64) & 1)
        index++;
    if (index == STACK_SLOTS)
        return NULL;
    uintptr_t start = PVH_STACK_BASE + (index + 1) * STACK_SLOT - size;
    stack_slots[index / 64] |= 1ull << (index % 64);
    for (uintptr_t at = start; at < start + size; at += HAL_PAGE_SIZE) {
        uint64_t *entry = walk(at, 0, PRESENT | WRITE);
        hal_phys_t page = entry ? kernel_page_alloc() : 0;
        if (!page) {
            hal_stack_destroy((void *)start, size);
            return NULL;
        }
        *entry = page | PRESENT | WRITE | GLOBAL | NX;
    }
    return (void *)start;
}

void hal_stack_destroy(void *stack, size_t size) {
    uintptr_t start = (uintptr_t)stack;
    for (uintptr_t at = start; at < start + size; at += HAL_PAGE_SIZE) {
        uint64_t *entry = walk(at, 0, 0);
        if (!entry || !(*entry & PRESENT))
            continue;
        hal_phys_t page = *entry & ADDRESS;
        *entry = 0;
        flush(at);
        kernel_page_free(page);
    }
    uint64_t index = (start - PVH_STACK_BASE) / STACK_SLOT;
    stack_slots[index / 64] &= ~(1ull << (index % 64));
}

static bool user_entry(unsigned flags, uint64_t *bits) {
    if ((flags & HAL_USER_WRITE) && (flags & HAL_USER_EXECUTE))
        return false;
    *bits = USER | (flags & HAL_USER_WRITE ? WRITE : 0) | (flags & HAL_USER_EXECUTE ? 0 : NX) |
            (flags & HAL_USER_OWNED ? OWNED : 0) |
            (flags & (HAL_USER_READ | HAL_USER_WRITE | HAL_USER_EXECUTE) ? PRESENT : NONE);
    return true;
}

static unsigned user_flags(uint64_t entry) {
    unsigned flags = entry & OWNED ? HAL_USER_OWNED : 0;
    if (entry & PRESENT) {
        flags |= HAL_USER_READ | (entry & NX ? 0 : HAL_USER_EXECUTE) | (entry & WRITE ? HAL_USER_WRITE : 0);
        flags |= entry & DIRTY ? HAL_USER_DIRTY : 0;
    }
    return flags;
}

int hal_user_map(uintptr_t address, hal_phys_t page, unsigned flags) {
    uint64_t bits;
    if (address < HAL_USER_FIRST || address >= HAL_USER_END || address & HAL_PAGE_MASK || !user_entry(flags, &bits))
        return -HAL_EINVAL;
    uint64_t *entry = walk(address, 0, PRESENT | WRITE | USER);
    if (!entry)
        return -HAL_ENOMEM;
    if (*entry & (PRESENT | NONE))
        return -HAL_EBUSY;
    *entry = page | bits;
    return 0;
}

int hal_user_protect(uintptr_t address, unsigned flags) {
    uint64_t bits, *entry = walk(address, 0, 0);
    if (!entry || !(*entry & (PRESENT | NONE)) || !user_entry(flags, &bits))
        return -HAL_EINVAL;
    *entry = (*entry & (ADDRESS | DIRTY | OWNED)) | bits;
    flush(address);
    return 0;
}

bool hal_user_lookup(uintptr_t address, hal_phys_t *page, unsigned *flags) {
    uint64_t *entry = address < HAL_USER_END ? walk(address, 0, 0) : NULL;
    if (!entry || !(*entry & (PRESENT | NONE)))
        return false;
    *page = *entry & ADDRESS;
    *flags = user_flags(*entry);
    return true;
}

uintptr_t hal_user_next(uintptr_t address, uintptr_t end) {
    while (address < end) {
        const uint64_t *table = pvh_root_table;
        unsigned level = 3;
        while (level > 0 && table[slot(address, level)] & PRESENT)
            table = hal_phys_to_virt(table[slot(address, level--)] & ADDRESS);
        if (level == 0 && table[slot(address, 0)] & (PRESENT | NONE))
            return address;
        uintptr_t span = (uintptr_t)1 << (12 + 9 * level);
        address = (address & ~(span - 1)) + span;
    }
    return end;
}

/* Whether a page table below the root is empty. */
static bool empty(const uint64_t *table) {
    for (unsigned i = 0; i < 512; i++)
        if (table[i])
            return false;
    return true;
}

/* Unmaps [start, end) below `table`; frees tables that become empty. True: a TLB flush of everything is needed. */
static void unmap_level(uint64_t *table, unsigned level, uintptr_t start, uintptr_t end,
                        void (*gone)(void *, uintptr_t, hal_phys_t, unsigned), void *context, size_t *count) {
    uintptr_t span = (uintptr_t)1 << (12 + 9 * level);
    for (uintptr_t at = start; at < end;) {
        uintptr_t next = (at & ~(span - 1)) + span;
        if (next > end)
            next = end;
        uint64_t *entry = &table[slot(at, level)];
        if (level == 0) {
            if (*entry & (PRESENT | NONE)) {
                uint64_t old = *entry;
                *entry = 0;
                if (*count < 32)
                    flush(at);
                ++*count;
                gone(context, at, old & ADDRESS, user_flags(old));
            }
        } else if (*entry & PRESENT) {
            uint64_t *below = hal_phys_to_virt(*entry & ADDRESS);
            unmap_level(below, level - 1, at, next, gone, context, count);
            /* A partial range may leave the rest in use; only then the scan of 512 entries is needed. */
            if (next - at == span || empty(below)) {
                kernel_page_free(*entry & ADDRESS);
                *entry = 0;
                ++*count;
            }
        }
        at = next;
    }
}

void hal_user_unmap(uintptr_t start, uintptr_t end, void (*gone)(void *, uintptr_t, hal_phys_t, unsigned), void *context) {
    size_t count = 0;
    unmap_level(pvh_root_table, 3, start, end, gone, context, &count);
    if (count) {
        /* Also drops the paging-structure caches of freed tables. Without PCID no user entry survives. */
        uint64_t root;
        __asm__ volatile("mov %%cr3, %0; mov %0, %%cr3" : "=r"(root) : : "memory");
    }
}

int hal_user_move(uintptr_t from, uintptr_t to) {
    uint64_t *source = walk(from, 0, 0), *target = walk(to, 0, PRESENT | WRITE | USER);
    if (!target)
        return -HAL_ENOMEM;
    if (!source || *target)
        return -HAL_EINVAL;
    *target = *source;
    *source = 0;
    flush(from);
    return 0;
}
