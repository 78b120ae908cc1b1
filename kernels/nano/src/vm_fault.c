/*
 * Demand paging: what a fault of the program maps.
 */
#include "hal/kernel.h"
#include "hal/string.h"
#include "nano/errno.h"
#include "nano/page.h"
#include "nano/program.h"
#include "nano/vfs.h"
#include "nano/vm_pages.h"

#define FAULT_AROUND 16    /* pages of a file that one fault maps, where they cost nothing */
#define SHORT_OF_MEMORY 32 /* free pages: enough for the page tables and the copy that one fault may need */

void (*vm_reclaim)(void);

/* A read fault maps its neighbours too where the filesystem has their pages to lend: they cost no memory and save faults. */
static void fault_around(const struct vma *area, uintptr_t address) {
    uintptr_t start = address & ~(uintptr_t)(FAULT_AROUND * PAGE_SIZE - 1), end = start + FAULT_AROUND * PAGE_SIZE;
    start = start < area->start ? area->start : start;
    end = end > area->end ? area->end : end;
    for (uintptr_t at = start; at < end; at += PAGE_SIZE) {
        hal_phys_t frame;
        unsigned flags;
        if (hal_user_lookup(at, &frame, &flags))
            continue;
        void *page = area->node->ops->resident(area->node, area->page + (at - area->start) / PAGE_SIZE);
        if (page && vm_map_page(area, at, page, false) != 0)
            return;
    }
}

/* The area of a fault after the filesystem was asked, which may have blocked: NULL where it is another one now. */
static const struct vma *same_area(uintptr_t address, const struct node *node, uint64_t index, bool write) {
    const struct vma *area = vm_find(address);
    bool same = area && area->node == node && area->page + (address - area->start) / PAGE_SIZE == index;
    return same && (!write || area->protection & PROT_WRITE) ? area : NULL;
}

static bool fault_file(const struct vma *area, uintptr_t address, bool write) {
    uint64_t index = area->page + (address - area->start) / PAGE_SIZE;
    struct node *node = area->node;
    if (index * PAGE_SIZE >= node->size)
        return false; /* SIGBUS: beyond the end of the file */
    void *page;
    bool borrowed;
    node_get(node);
    int status = node->ops->page(node, index, write && area->shared, &page, &borrowed);
    area = same_area(address, node, index, write);
    node_put(node);
    if (status == -ENOMEM)
        program_out_of_memory();
    if (status != 0)
        return false;
    if (!area) {
        if (!borrowed)
            page_free(page, 0);
        return true; /* the access is made again and meets what is there now */
    }
    if (borrowed && write && !area->shared) {
        void *copy = page_alloc(0);
        if (!copy)
            program_out_of_memory();
        memcpy(copy, page, PAGE_SIZE);
        page = copy;
        borrowed = false;
    }
    status = vm_map_page(area, address, page, !borrowed);
    if (status != 0) {
        if (!borrowed)
            page_free(page, 0);
        if (status == -ENOMEM)
            program_out_of_memory();
        return status == -EBUSY;
    }
    if (borrowed && !write && node->ops->resident)
        fault_around(area, address);
    return true;
}

/* A write to a page that is there, read-only: a private mapping gets its own copy. */
static bool copy_on_write(const struct vma *area, uintptr_t address, hal_phys_t frame, unsigned flags) {
    if ((flags & HAL_USER_OWNED) || area->shared)
        return hal_user_protect(address, vm_page_rights(area, flags, false)) == 0;
    void *copy = page_alloc(0);
    if (!copy)
        program_out_of_memory();
    memcpy(copy, hal_phys_to_virt(frame), PAGE_SIZE);
    vm_drop_pages(address, address + PAGE_SIZE);
    if (vm_map_page(area, address, copy, true) != 0)
        program_out_of_memory();
    return true;
}

bool kernel_page_fault(uintptr_t address, bool write, bool execute) {
    if (vm_reclaim && page_available() < SHORT_OF_MEMORY)
        vm_reclaim();
    const struct vma *area = vm_find(address);
    if (!area || (write && !(area->protection & PROT_WRITE)) || (execute && !(area->protection & PROT_EXEC)) ||
        !(area->protection & (PROT_READ | PROT_WRITE | PROT_EXEC)))
        return false;
    address &= ~HAL_PAGE_MASK;
    hal_phys_t frame;
    unsigned flags;
    if (hal_user_lookup(address, &frame, &flags)) {
        if (write && !(flags & HAL_USER_WRITE))
            return copy_on_write(area, address, frame, flags);
        return hal_user_protect(address, vm_page_rights(area, flags, execute)) == 0;
    }
    if (area->node)
        return fault_file(area, address, write);
    void *page = page_alloc_zeroed();
    if (!page || vm_map_page(area, address, page, true) != 0)
        program_out_of_memory();
    return true;
}
