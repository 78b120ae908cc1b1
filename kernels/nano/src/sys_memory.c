/*
 * System calls on the address space: group `memory`.
 */
#include "nano/errno.h"
#include "nano/file.h"
#include "nano/page.h"
#include "nano/syscall.h"
#include "nano/vfs.h"
#include "nano/vm.h"

#define MADV_DONTNEED 4
#define MADV_FREE 8

static bool beyond(uintptr_t address, uint64_t length) {
    return length > HAL_USER_END || address > HAL_USER_END - length;
}

static int64_t map_file(const uint64_t *a, struct file *file) {
    unsigned protection = (unsigned)a[2], flags = (unsigned)a[3];
    bool shared = (flags & MAP_TYPE) != MAP_PRIVATE;
    if ((file->flags & O_ACCMODE) == O_WRONLY)
        return -EACCES;
    if (shared && protection & PROT_WRITE && (file->flags & O_ACCMODE) != O_RDWR)
        return -EACCES;
    if (!file->node || !file->node->ops->page)
        return -ENODEV;
    if (a[1] > INT64_MAX || a[5] > INT64_MAX - a[1])
        return -EOVERFLOW; /* no file is so long, and a page's place in it is counted in bytes */
    return vm_map(a[0], a[1], protection, flags, file->node, a[5] / PAGE_SIZE, NULL);
}

static int64_t sys_mmap(const uint64_t *a) {
    unsigned flags = (unsigned)a[3], type = flags & MAP_TYPE;
    int64_t address;
    if (a[5] & HAL_PAGE_MASK || a[1] == 0 || type == 0 || type > MAP_SHARED_VALIDATE)
        return -EINVAL;
    if (flags & MAP_ANONYMOUS) {
        address = vm_map(a[0], a[1], (unsigned)a[2], flags, NULL, 0, NULL);
    } else {
        struct file *file = fd_get(a[4]);
        if (!file)
            return -EBADF;
        address = map_file(a, file);
        file_put(file);
    }
    if (address >= 0 && flags & MAP_POPULATE && a[2] & (PROT_READ | PROT_WRITE)) {
        /* By touching; what cannot be had is left to the fault. */
        for (uint64_t at = 0; at < a[1]; at += PAGE_SIZE) {
            uint8_t byte;
            if (copy_from_user(&byte, (uintptr_t)address + at, 1) != 0)
                break;
            if (a[2] & PROT_WRITE && copy_to_user((uintptr_t)address + at, &byte, 1) != 0)
                break;
        }
    }
    return address;
}
SYSCALL(9, mmap, sys_mmap, memory);

static int64_t sys_munmap(const uint64_t *a) {
    return vm_unmap(a[0], a[1]);
}
SYSCALL(11, munmap, sys_munmap, memory);

static int64_t sys_mprotect(const uint64_t *a) {
    if (a[2] & ~(uint64_t)(PROT_READ | PROT_WRITE | PROT_EXEC))
        return -EINVAL;
    return vm_protect(a[0], a[1], (unsigned)a[2]);
}
SYSCALL(10, mprotect, sys_mprotect, memory);

static int64_t sys_mremap(const uint64_t *a) {
    return vm_remap(a[0], a[1], a[2], (unsigned)a[3], a[4]);
}
SYSCALL(25, mremap, sys_mremap, memory);

static int64_t sys_brk(const uint64_t *a) {
    return (int64_t)vm_break(a[0]);
}
SYSCALL(12, brk, sys_brk, memory);

static int64_t sys_madvise(const uint64_t *a) {
    unsigned advice = (unsigned)a[2];
    if (a[0] & HAL_PAGE_MASK || beyond(a[0], a[1]))
        return -EINVAL;
    if (advice == MADV_DONTNEED || advice == MADV_FREE)
        return vm_discard(a[0], a[1]);
    if (advice > 25 || (advice > 4 && advice < 8) || advice == 9)
        return -EINVAL;
    return a[1] == 0 || vm_covered(a[0], a[1]) ? 0 : -ENOMEM;
}
SYSCALL(28, madvise, sys_madvise, memory);

static int64_t sys_msync(const uint64_t *a) {
    if (a[0] & HAL_PAGE_MASK || a[2] & ~7ull || (a[2] & 5) == 5)
        return -EINVAL;
    if (beyond(a[0], a[1]) || (a[1] && !vm_covered(a[0], a[1])))
        return -ENOMEM;
    for (uintptr_t at = a[0]; at < a[0] + a[1];) {
        struct vma *area = vm_find(at);
        if (area->node && area->shared && area->node->ops->sync && a[2] & 4) {
            int status = area->node->ops->sync(area->node, true);
            if (status != 0)
                return status;
            area = vm_find(at);
            if (!area)
                return -ENOMEM;
        }
        at = area->end;
    }
    return 0;
}
SYSCALL(26, msync, sys_msync, memory);

static int64_t sys_mincore(const uint64_t *a) {
    if (a[0] & HAL_PAGE_MASK)
        return -EINVAL;
    if (beyond(a[0], a[1]) || (a[1] && !vm_covered(a[0], a[1])))
        return -ENOMEM;
    for (uint64_t at = 0; at < a[1]; at += PAGE_SIZE) {
        hal_phys_t page;
        unsigned flags;
        uint8_t there = hal_user_lookup(a[0] + at, &page, &flags);
        if (copy_to_user(a[2] + at / PAGE_SIZE, &there, 1) != 0)
            return -EFAULT;
    }
    return 0;
}
SYSCALL(27, mincore, sys_mincore, memory);

/* Nothing is ever paged out. */
static int64_t sys_mlock(const uint64_t *a) {
    uintptr_t start = a[0] & ~HAL_PAGE_MASK;
    if (beyond(a[0], a[1]))
        return -ENOMEM;
    uintptr_t end = (a[0] + a[1] + HAL_PAGE_MASK) & ~HAL_PAGE_MASK;
    return a[1] == 0 || vm_covered(start, end - start) ? 0 : -ENOMEM;
}
SYSCALL(149, mlock, sys_mlock, memory);
SYSCALL(150, munlock, sys_mlock, memory);

static int64_t sys_mlockall(const uint64_t *a) {
    return a[0] == 0 || a[0] & ~7ull ? -EINVAL : 0;
}
SYSCALL(151, mlockall, sys_mlockall, memory);

static int64_t sys_munlockall(const uint64_t *a) {
    (void)a;
    return 0;
}
SYSCALL(152, munlockall, sys_munlockall, memory);
