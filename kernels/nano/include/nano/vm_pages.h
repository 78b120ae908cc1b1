/*
 * The pages that are in the page table, below the areas of `nano/vm.h`: for vm*.c only. Nothing here blocks.
 */
#ifndef NANO_VM_PAGES_H
#define NANO_VM_PAGES_H

#include "nano/vm.h"

/*
 * The rights (HAL_USER_*) of a page of an area; `old`: what it has now, of which HAL_USER_OWNED is kept. Where an area is
 * writable and executable (only with the part `jit`), a page has one of the two rights at a time, `execute` says which: the
 * fault of the other exchanges them.
 */
unsigned vm_page_rights(const struct vma *area, unsigned old, bool execute);
/*
 * Maps a page at `address`, which lies in `area`. `owned`: it is the area's own from now on, else lent by a filesystem.
 * 0; -ENOMEM, -EBUSY (a page is there): the page stays the caller's.
 */
int vm_map_page(const struct vma *area, uintptr_t address, void *page, bool owned);
/*
 * The first page of [address, end) that is in the page table, with its frame and its rights; `end`: none. Takes as long as
 * there are pages, not as the range is long: a program may reserve any length.
 */
uintptr_t vm_next_page(uintptr_t address, uintptr_t end, hal_phys_t *frame, unsigned *flags);
/* Takes the pages of [start, end) out of the page table and frees those that are owned. */
void vm_drop_pages(uintptr_t start, uintptr_t end);

#endif
