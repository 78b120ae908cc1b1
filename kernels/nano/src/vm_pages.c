#include "nano/vm_pages.h"

#include "nano/page.h"
#include "nano/vfs.h"

#define LARGE ((uintptr_t)2 << 20) /* of so many bytes the page tables know sooner that there is nothing than by each page */

static size_t resident;

size_t vm_resident_pages(void) {
    return resident;
}

/* Frames to free once the TLB is flushed are chained through their own first words. */
struct gone {
    struct gone *next;
};

static void page_gone(void *context, uintptr_t address, hal_phys_t page, unsigned flags) {
    (void)address;
    struct gone **list = context;
    resident--;
    if (flags & HAL_USER_OWNED) {
        struct gone *item = hal_phys_to_virt(page);
        item->next = *list;
        *list = item;
    }
}

void vm_drop_pages(uintptr_t start, uintptr_t end) {
    struct gone *list = NULL;
    hal_user_unmap(start, end, page_gone, &list);
    while (list) {
        struct gone *next = list->next;
        page_free(list, 0);
        list = next;
    }
}

unsigned vm_page_rights(const struct vma *area, unsigned old, bool execute) {
    unsigned flags = old & HAL_USER_OWNED;
    if (area->protection & (PROT_READ | PROT_WRITE | PROT_EXEC))
        flags |= HAL_USER_READ;
    if (area->protection & PROT_EXEC)
        flags |= HAL_USER_EXECUTE;
    /* A page that belongs to a file is written to only by a shared mapping; a private one gets its copy at the fault. */
    if ((area->protection & PROT_WRITE) && ((old & HAL_USER_OWNED) || area->shared))
        flags |= HAL_USER_WRITE;
    if ((flags & HAL_USER_WRITE) && (flags & HAL_USER_EXECUTE))
        flags &= ~(unsigned)(execute ? HAL_USER_WRITE : HAL_USER_EXECUTE);
    return flags;
}

uintptr_t vm_next_page(uintptr_t address, uintptr_t end, hal_phys_t *frame, unsigned *flags) {
    while (address < end && !hal_user_lookup(address, frame, flags))
        address = end - address < LARGE ? address + PAGE_SIZE : hal_user_next(address, end);
    return address;
}

int vm_map_page(const struct vma *area, uintptr_t address, void *page, bool owned) {
    int status = hal_user_map(address, hal_virt_to_phys(page), vm_page_rights(area, owned ? HAL_USER_OWNED : 0, false));
    if (status == 0)
        resident++;
    return status;
}

void vm_cut_node(const struct node *node, uint64_t from) {
    const struct vma *area;
    for (size_t i = 0; (area = vm_at(i)) != NULL; i++) {
        uint64_t pages = (area->end - area->start) / PAGE_SIZE;
        if (area->node != node || area->page + pages <= from)
            continue;
        uint64_t first = from > area->page ? from - area->page : 0;
        hal_phys_t frame;
        unsigned flags;
        uintptr_t at = area->start + first * PAGE_SIZE;
        while ((at = vm_next_page(at, area->end, &frame, &flags)) < area->end) {
            /* Private copies stay the program's. */
            if (!(flags & HAL_USER_OWNED))
                vm_drop_pages(at, at + PAGE_SIZE);
            at += PAGE_SIZE;
        }
    }
}

/* Where the page of a node would be in an area; 0: not in this one. */
static uintptr_t place_of(const struct vma *area, const struct node *node, uint64_t page) {
    if (area->node != node || page < area->page || page - area->page >= (area->end - area->start) / PAGE_SIZE)
        return 0;
    return area->start + (page - area->page) * PAGE_SIZE;
}

static bool is_lent(uintptr_t address) {
    hal_phys_t frame;
    unsigned flags;
    return address && hal_user_lookup(address, &frame, &flags) && !(flags & HAL_USER_OWNED);
}

bool vm_maps_page(const struct node *node, uint64_t page) {
    const struct vma *area;
    for (size_t i = 0; (area = vm_at(i)) != NULL; i++)
        if (is_lent(place_of(area, node, page)))
            return true;
    return false;
}

void vm_forget_page(const struct node *node, uint64_t page) {
    const struct vma *area;
    for (size_t i = 0; (area = vm_at(i)) != NULL; i++) {
        uintptr_t address = place_of(area, node, page);
        if (is_lent(address))
            vm_drop_pages(address, address + PAGE_SIZE);
    }
}
