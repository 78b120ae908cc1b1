/*
 * Physical memory, the kernel's view of it, and the program's address space.
 */
#ifndef HAL_MEMORY_H
#define HAL_MEMORY_H

#include "hal/base.h"

/* The functions below are for thread context; of them only hal_user_read(), _write() and _zero() block. */

/* One range of free physical memory, page-aligned; neither the kernel's image nor the initrd nor boot data is in it. */
struct hal_region {
    hal_phys_t base;
    uint64_t size; /* bytes */
};

/* The ranges of free memory, ascending; `*count` of them. */
const struct hal_region *hal_memory_regions(size_t *count);

/* kernel_page_alloc() works from now on: the platform maps what memory it has not yet mapped. */
void hal_memory_ready(void);

/* The kernel's address of a byte of RAM, and back. Only for RAM of hal_memory_regions() and the initrd. */
void *hal_phys_to_virt(hal_phys_t address);
hal_phys_t hal_virt_to_phys(const void *pointer);

/*
 * Maps device registers, uncached; they stay mapped for ever. NULL: no page table could be allocated, or no such
 * address can be.
 */
volatile void *hal_mmio_map(hal_phys_t address, size_t size);

/*
 * A kernel stack of `size` bytes (a multiple of the page size) with an unmapped guard page below it. Returns its lowest
 * address, NULL without memory. The caller frees it with the same size, never while running on it.
 */
void *hal_stack_create(size_t size);
void hal_stack_destroy(void *stack, size_t size);

/*
 * The program's address space: one, from HAL_USER_FIRST to HAL_USER_END. The kernel decides what is where; these only
 * keep the page tables. Never a page that is both writable and executable: hal_user_map() refuses it with -HAL_EINVAL.
 */
#define HAL_USER_FIRST ((uintptr_t)0x10000)
#define HAL_USER_END ((uintptr_t)0x7ffffffff000)

enum hal_user_flags {
    HAL_USER_WRITE = 1 << 0,
    HAL_USER_EXECUTE = 1 << 1,
    HAL_USER_READ = 1 << 2, /* none of the three: present in the tables' books, but any access faults */
    HAL_USER_OWNED = 1 << 3, /* a mark for the kernel: the page goes back to the allocator when it is unmapped */
    HAL_USER_DIRTY = 1 << 4, /* only in answers: the page was written to */
};

/* Maps one page. -HAL_ENOMEM without memory for a page table; -HAL_EBUSY where a page is mapped already. */
int hal_user_map(uintptr_t address, hal_phys_t page, unsigned flags);
/* Changes the rights of a mapped page; -HAL_EINVAL where none is mapped or both write and execute are asked for. */
int hal_user_protect(uintptr_t address, unsigned flags);
/* Whether a page is mapped at `address`; its frame and flags. */
bool hal_user_lookup(uintptr_t address, hal_phys_t *page, unsigned *flags);
/* The first page from `address` (page-aligned) on, and below `end`, that is mapped; `end`: none. Takes as long as what is mapped. */
uintptr_t hal_user_next(uintptr_t address, uintptr_t end);
/*
 * Unmaps every page in [start, end) and calls `gone` for each. The frames may be used again when this returns, not
 * inside `gone`: the TLB is flushed last.  `gone` may collect them (it must not map or unmap).
 */
void hal_user_unmap(uintptr_t start, uintptr_t end, void (*gone)(void *context, uintptr_t address, hal_phys_t page, unsigned flags),
                    void *context);
/* Moves the mapped page at `from` to `to`, which must be unmapped. 0, or -HAL_ENOMEM. */
int hal_user_move(uintptr_t from, uintptr_t to);

/*
 * Copies between kernel memory and the program's. Returns the number of bytes that could NOT be copied (0: all). A fault
 * goes to kernel_page_fault() first, so these may block and must not be called while data is half changed.
 */
size_t hal_user_read(void *to, uintptr_t from, size_t size);
size_t hal_user_write(uintptr_t to, const void *from, size_t size);
size_t hal_user_zero(uintptr_t to, size_t size);

#endif
