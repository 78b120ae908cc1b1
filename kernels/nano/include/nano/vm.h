/*
 * The program's address space: areas (VMAs) and demand paging.
 */
#ifndef NANO_VM_H
#define NANO_VM_H

#include "hal/memory.h"

struct node;

#define PROT_READ 1u
#define PROT_WRITE 2u
#define PROT_EXEC 4u
#define MAP_SHARED 0x01u
#define MAP_PRIVATE 0x02u
#define MAP_SHARED_VALIDATE 0x03u
#define MAP_TYPE 0x0fu
#define MAP_FIXED 0x10u
#define MAP_ANONYMOUS 0x20u
#define MAP_GROWSDOWN 0x100u
#define MAP_NORESERVE 0x4000u
#define MAP_POPULATE 0x8000u
#define MAP_STACK 0x20000u
#define MAP_FIXED_NOREPLACE 0x100000u

/* [start, end), page-aligned. Owned by the table of areas; holds a reference to its node. */
struct vma {
    uintptr_t start, end;
    uint32_t protection; /* PROT_* */
    bool shared;
    struct node *node; /* NULL: anonymous */
    uint64_t page;     /* of the node at `start` */
    const char *label; /* for /proc/self/maps and reports; NULL: the node's path */
};

/* Whether the program may ask for memory that is writable and executable; the part `jit` turns it on. */
extern bool vm_write_and_execute;

/* Chooses the random bases. Once, before the program is loaded. */
void vm_init(void);

/*
 * Maps `length` bytes (rounded up to pages). `address` is where (fixed) or a wish (0: none). Takes a new reference to
 * `node`. Returns the address, -ENOMEM, -EINVAL, -EACCES (write and execute at once), -EEXIST (no replacement).
 */
int64_t vm_map(uintptr_t address, size_t length, unsigned protection, unsigned flags, struct node *node, uint64_t page, const char *label);
int vm_unmap(uintptr_t address, size_t length);
int vm_protect(uintptr_t address, size_t length, unsigned protection);
int64_t vm_remap(uintptr_t address, size_t old_length, size_t new_length, unsigned flags, uintptr_t wish);
/* Drops the pages of anonymous private memory in the range: they read as zero, or as the file, afterwards. */
int vm_discard(uintptr_t address, size_t length);
/* Moves the end of the heap; returns the end as it is then. */
uintptr_t vm_break(uintptr_t wish);
void vm_set_break(uintptr_t start);
/* Unmaps the pages of `node` from page index `from` on: the file was cut. */
void vm_cut_node(const struct node *node, uint64_t from);

/*
 * For filesystems that take pages back: whether the program maps the page of `node` that the filesystem lent, and unmapping
 * it wherever it is. The second may free page tables, so it is only for vm_reclaim().
 */
bool vm_maps_page(const struct node *node, uint64_t page);
void vm_forget_page(const struct node *node, uint64_t page);
/* Called before a fault is handled while memory is short: frees pages that can be had again. NULL: nobody has such. */
extern void (*vm_reclaim)(void);

/* The area that holds `address`; NULL: none. And by index, in ascending order. */
struct vma *vm_find(uintptr_t address);
struct vma *vm_at(size_t index);
/* Whether all of the range is mapped (with any rights). */
bool vm_covered(uintptr_t address, size_t length);
size_t vm_resident_pages(void);
size_t vm_total_pages(void);
/* The lowest address of random base for a position-independent program. */
uintptr_t vm_program_base(void);
uintptr_t vm_stack_top(void);
#define VM_STACK_SIZE ((size_t)8 << 20)

#endif
