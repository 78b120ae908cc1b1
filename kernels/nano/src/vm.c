#include "nano/vm.h"

#include "hal/string.h"
#include "nano/errno.h"
#include "nano/heap.h"
#include "nano/page.h"
#include "nano/random.h"
#include "nano/vfs.h"
#include "nano/vm_pages.h"

#define MREMAP_MAYMOVE 1u
#define MREMAP_FIXED 2u

bool vm_write_and_execute;

/* Areas in ascending order, never overlapping. */
static struct vma **areas;
static size_t area_count, area_room;
static uintptr_t mmap_top, stack_top, program_base;
static uintptr_t break_start, break_end;

void vm_init(void) {
    /* 28 bits of pages for the stack and for mmap below it, 28 for the program; all far from each other. */
    stack_top = HAL_USER_END - PAGE_SIZE - (random_u64() & 0xfffffff) * PAGE_SIZE;
    mmap_top = stack_top - VM_STACK_SIZE - ((uintptr_t)1 << 30) - (random_u64() & 0xfffffff) * PAGE_SIZE;
    program_base = (uintptr_t)0x555500000000 + (random_u64() & 0xfffffff) * PAGE_SIZE;
}

uintptr_t vm_program_base(void) {
    return program_base;
}

uintptr_t vm_stack_top(void) {
    return stack_top;
}

size_t vm_total_pages(void) {
    size_t pages = 0;
    for (size_t i = 0; i < area_count; i++)
        pages += (areas[i]->end - areas[i]->start) / PAGE_SIZE;
    return pages;
}

/* The index of the first area that ends above `address`. */
static size_t index_after(uintptr_t address) {
    size_t low = 0, high = area_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (areas[middle]->end > address)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

struct vma *vm_find(uintptr_t address) {
    size_t index = index_after(address);
    return index < area_count && areas[index]->start <= address ? areas[index] : NULL;
}

struct vma *vm_at(size_t index) {
    return index < area_count ? areas[index] : NULL;
}

bool vm_covered(uintptr_t address, size_t length) {
    uintptr_t end = address + length;
    for (size_t i = index_after(address); address < end; i++) {
        if (i == area_count || areas[i]->start > address)
            return false;
        address = areas[i]->end;
    }
    return true;
}

/* Room for `more` areas, so that what follows cannot fail half-way. */
static bool reserve(size_t more) {
    if (area_count + more <= area_room)
        return true;
    size_t room = area_room ? area_room * 2 : 32;
    struct vma **grown = krealloc(areas, room * sizeof(struct vma *));
    if (!grown)
        return false;
    areas = grown;
    area_room = room;
    return true;
}

static void insert(size_t index, struct vma *area) {
    memmove(areas + index + 1, areas + index, (area_count - index) * sizeof(struct vma *));
    areas[index] = area;
    area_count++;
}

static void erase(size_t index) {
    struct vma *area = areas[index];
    area_count--;
    memmove(areas + index, areas + index + 1, (area_count - index) * sizeof(struct vma *));
    if (area->node)
        node_put(area->node);
    kfree(area);
}

/* Cuts the area at `index` in two at `address`, which lies inside. reserve(1) was called. */
static int split(size_t index, uintptr_t address) {
    struct vma *area = areas[index], *upper = kmalloc(sizeof *upper);
    if (!upper)
        return -ENOMEM;
    *upper = *area;
    upper->start = address;
    upper->page += (address - area->start) / PAGE_SIZE;
    if (upper->node)
        node_get(upper->node);
    area->end = address;
    insert(index + 1, upper);
    return 0;
}

/* Makes sure that no area crosses `start` or `end`. */
static int isolate(uintptr_t start, uintptr_t end) {
    const uintptr_t cuts[2] = {start, end};
    if (!reserve(2))
        return -ENOMEM;
    for (unsigned i = 0; i < 2; i++) {
        size_t index = index_after(cuts[i]);
        if (index < area_count && areas[index]->start < cuts[i] && split(index, cuts[i]) != 0)
            return -ENOMEM;
    }
    return 0;
}

static bool same_kind(const struct vma *left, const struct vma *right) {
    return left->end == right->start && left->protection == right->protection && left->shared == right->shared &&
           left->node == right->node && left->label == right->label &&
           (!left->node || left->page + (left->end - left->start) / PAGE_SIZE == right->page);
}

/* Joins neighbours of one kind that touch [start, end]. */
static void merge(uintptr_t start, uintptr_t end) {
    size_t index = index_after(start);
    index -= index > 0;
    while (index + 1 < area_count && areas[index]->start <= end) {
        if (same_kind(areas[index], areas[index + 1])) {
            areas[index]->end = areas[index + 1]->end;
            erase(index + 1);
        } else {
            index++;
        }
    }
}

static bool valid_range(uintptr_t address, size_t length, uintptr_t *end) {
    if (address & HAL_PAGE_MASK || length == 0 || length > HAL_USER_END)
        return false;
    length = (length + HAL_PAGE_MASK) & ~HAL_PAGE_MASK;
    if (address > HAL_USER_END - length)
        return false;
    *end = address + length;
    return true;
}

int vm_unmap(uintptr_t address, size_t length) {
    uintptr_t end;
    if (!valid_range(address, length, &end))
        return -EINVAL;
    size_t index = index_after(address);
    if (index == area_count || areas[index]->start >= end)
        return 0;
    if (isolate(address, end) != 0)
        return -ENOMEM;
    index = index_after(address);
    vm_drop_pages(address, end);
    while (index < area_count && areas[index]->start < end)
        erase(index);
    return 0;
}

/* The highest gap of `length` bytes below `top`; 0: none. */
static uintptr_t find_gap(size_t length, uintptr_t top) {
    uintptr_t limit = top;
    for (size_t i = area_count; i > 0; i--) {
        const struct vma *area = areas[i - 1];
        if (area->start >= limit)
            continue;
        uintptr_t below = area->end < limit ? area->end : limit;
        if (limit - below >= length)
            return limit - length;
        limit = area->start;
    }
    return limit >= HAL_USER_FIRST && limit - HAL_USER_FIRST >= length ? limit - length : 0;
}

static bool range_free(uintptr_t start, uintptr_t end) {
    size_t index = index_after(start);
    return index == area_count || areas[index]->start >= end;
}

int64_t vm_map(uintptr_t address, size_t length, unsigned protection, unsigned flags, struct node *node, uint64_t page, const char *label) {
    if (length == 0)
        return -EINVAL;
    if (length > HAL_USER_END)
        return -ENOMEM;
    length = (length + HAL_PAGE_MASK) & ~HAL_PAGE_MASK;
    protection &= PROT_READ | PROT_WRITE | PROT_EXEC;
    if ((protection & PROT_WRITE) && (protection & PROT_EXEC) && !vm_write_and_execute)
        return -EACCES;
    bool shared = (flags & MAP_TYPE) != MAP_PRIVATE;
    if (!node && (protection & PROT_WRITE) && !(flags & MAP_NORESERVE) && length / PAGE_SIZE > page_total())
        return -ENOMEM;
    uintptr_t end;
    if (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) {
        if (address & HAL_PAGE_MASK)
            return -EINVAL;
        if (!valid_range(address, length, &end))
            return -ENOMEM;
        if (address < HAL_USER_FIRST)
            return -EPERM;
        if ((flags & MAP_FIXED_NOREPLACE) && !range_free(address, end))
            return -EEXIST;
        int status = vm_unmap(address, length);
        if (status != 0)
            return status;
    } else {
        address &= ~HAL_PAGE_MASK;
        if (address < HAL_USER_FIRST || !valid_range(address, length, &end) || !range_free(address, end))
            address = find_gap(length, mmap_top);
        if (!address)
            return -ENOMEM;
        end = address + length;
    }
    struct vma *area = kmalloc(sizeof *area);
    if (!area || !reserve(1)) {
        kfree(area);
        return -ENOMEM;
    }
    *area = (struct vma){address, end, protection, shared, node, page, label};
    if (node)
        node_get(node);
    insert(index_after(address), area);
    merge(address, end);
    return (int64_t)address;
}

int vm_protect(uintptr_t address, size_t length, unsigned protection) {
    uintptr_t end;
    if (address & HAL_PAGE_MASK)
        return -EINVAL;
    if (length == 0)
        return 0;
    if (!valid_range(address, length, &end) || !vm_covered(address, end - address))
        return -ENOMEM;
    protection &= PROT_READ | PROT_WRITE | PROT_EXEC;
    if ((protection & PROT_WRITE) && (protection & PROT_EXEC) && !vm_write_and_execute)
        return -EACCES;
    if (isolate(address, end) != 0)
        return -ENOMEM;
    for (size_t i = index_after(address); i < area_count && areas[i]->start < end; i++) {
        struct vma *area = areas[i];
        if (area->protection == protection)
            continue;
        area->protection = protection;
        hal_phys_t frame;
        unsigned old;
        for (uintptr_t at = area->start; (at = vm_next_page(at, area->end, &frame, &old)) < area->end; at += PAGE_SIZE)
            hal_user_protect(at, vm_page_rights(area, old, old & HAL_USER_EXECUTE));
    }
    merge(address, end);
    return 0;
}

int vm_discard(uintptr_t address, size_t length) {
    uintptr_t end;
    if (length == 0)
        return 0;
    if (!valid_range(address, length, &end))
        return -EINVAL;
    vm_drop_pages(address, end);
    return vm_covered(address, end - address) ? 0 : -ENOMEM;
}

int64_t vm_remap(uintptr_t address, size_t old_length, size_t new_length, unsigned flags, uintptr_t wish) {
    uintptr_t end;
    if (address & HAL_PAGE_MASK || new_length == 0 || new_length > HAL_USER_END || flags & ~(MREMAP_MAYMOVE | MREMAP_FIXED))
        return -EINVAL;
    if (old_length == 0 || !valid_range(address, old_length, &end))
        return -EINVAL;
    old_length = end - address;
    new_length = (new_length + HAL_PAGE_MASK) & ~HAL_PAGE_MASK;
    struct vma *area = vm_find(address);
    if (!area || area->end < end)
        return -EFAULT;
    if (!(flags & MREMAP_FIXED)) {
        if (new_length <= old_length) {
            int status = new_length < old_length ? vm_unmap(address + new_length, old_length - new_length) : 0;
            return status ? status : (int64_t)address;
        }
        if (area->end == end && address + new_length <= HAL_USER_END && range_free(end, address + new_length)) {
            area->end = address + new_length;
            return (int64_t)address;
        }
        if (!(flags & MREMAP_MAYMOVE))
            return -ENOMEM;
    } else if (!(flags & MREMAP_MAYMOVE) || wish & HAL_PAGE_MASK || (wish < end && wish + new_length > address)) {
        return -EINVAL; /* as Linux, also where the new place overlaps the old one */
    }
    int64_t target = vm_map(wish, new_length, area->protection, (area->shared ? MAP_SHARED : MAP_PRIVATE) | MAP_NORESERVE | (flags & MREMAP_FIXED ? MAP_FIXED : 0),
                            area->node, area->page + (address - area->start) / PAGE_SIZE, area->label);
    if (target < 0)
        return target;
    hal_phys_t frame;
    unsigned old;
    uintptr_t moved = address + (old_length < new_length ? old_length : new_length);
    for (uintptr_t at = address; (at = vm_next_page(at, moved, &frame, &old)) < moved; at += PAGE_SIZE)
        if (hal_user_move(at, (uintptr_t)target + (at - address)) != 0)
            return -ENOMEM;
    vm_unmap(address, old_length);
    return target;
}

void vm_set_break(uintptr_t start) {
    break_start = break_end = start;
}

uintptr_t vm_break(uintptr_t wish) {
    if (wish < break_start || wish >= HAL_USER_END)
        return break_end;
    uintptr_t old = (break_end + HAL_PAGE_MASK) & ~HAL_PAGE_MASK, new = (wish + HAL_PAGE_MASK) & ~HAL_PAGE_MASK;
    if (new > old) {
        if (!range_free(old, new) ||
            vm_map(old, new - old, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED_NOREPLACE, NULL, 0, "[heap]") < 0)
            return break_end;
    } else if (new < old && vm_unmap(new, old - new) != 0) {
        return break_end;
    }
    break_end = wish;
    return break_end;
}
