/*
 * What a PVH loader hands to the kernel, whose entry gets the address of struct start_info in EBX: layout and magic are
 * those of Xen's public/arch-x86/hvm/start_info.h (struct hvm_start_info, hvm_modlist_entry, hvm_memmap_table_entry), the
 * state of the processor those of docs/misc/pvh.pandoc. All addresses are physical; the sizes are the same in the 32 bits of
 * a firmware and in the 64 of a kernel.
 */
#ifndef PVH_START_INFO_H
#define PVH_START_INFO_H

#include <stdint.h>

#define START_MAGIC 0x336ec578u
#define START_MAP_RAM 1u /* XEN_HVM_MEMMAP_TYPE_RAM: the types are those of E820 */

struct start_info {
    uint32_t magic;
    uint32_t version; /* 1: with a memory map */
    uint32_t flags;
    uint32_t module_count;
    uint64_t modules;      /* of struct start_module */
    uint64_t command_line; /* NUL-terminated; 0: none */
    uint64_t rsdp;         /* of ACPI; 0: no tables */
    uint64_t map;          /* of struct start_map_entry; from version 1 on */
    uint32_t map_entries;
    uint32_t reserved;
};

struct start_module {
    uint64_t address, size, command_line, reserved;
};

struct start_map_entry {
    uint64_t address, size;
    uint32_t type, reserved;
};

_Static_assert(sizeof(struct start_info) == 56 && sizeof(struct start_module) == 32 && sizeof(struct start_map_entry) == 24,
               "as Xen lays them out");

#endif
