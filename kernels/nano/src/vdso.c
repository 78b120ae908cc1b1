#include "nano/vdso.h"

#include "../vdso/vdso.h"
#include "hal/clock.h"
#include "hal/string.h"
#include "nano/errno.h"
#include "nano/page.h"
#include "nano/process.h"
#include "nano/vfs.h"
#include "nano/vm.h"

extern const char vdso_image_begin[], vdso_image_end[];

static struct vdso_data *data;

/* Page 0 is the data, the library follows. */
static int vdso_page(struct node *node, uint64_t index, bool write, void **page, bool *borrowed) {
    (void)node;
    (void)write;
    *borrowed = true;
    *page = index == 0 ? (void *)data : (void *)(vdso_image_begin + (index - 1) * PAGE_SIZE);
    return 0;
}

static struct filesystem filesystem = {"vdso", 4, 0, true, 0};
static const struct node_ops ops = {.page = vdso_page};

void vdso_update(void) {
    if (!data)
        return;
    data->sequence++;
    __asm__ volatile("" : : : "memory");
    data->wall_offset = hal_clock_wall_offset() + process.clock_offset;
    __asm__ volatile("" : : : "memory");
    data->sequence++;
}

void vdso_map(void) {
    struct hal_clock_counter counter;
    size_t size = ((size_t)(vdso_image_end - vdso_image_begin) + HAL_PAGE_MASK) & ~HAL_PAGE_MASK;
    if (!hal_clock_counter(&counter) || !(data = page_alloc_zeroed()))
        return;
    data->base_tsc = counter.base_tsc;
    data->base_ns = counter.base_ns;
    data->mult = counter.mult;
    data->shift = counter.shift;
    vdso_update();
    struct node *node = node_create(&filesystem, &ops, "[vdso]", 6, S_IFREG | 0555);
    if (!node)
        return;
    node->size = PAGE_SIZE + size;
    int64_t base = vm_map(0, PAGE_SIZE + size, PROT_READ, MAP_PRIVATE, node, 0, "[vvar]");
    if (base > 0 && vm_map((uintptr_t)base + PAGE_SIZE, size, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_FIXED, node, 1, "[vdso]") > 0)
        process.vdso = (uintptr_t)base + PAGE_SIZE;
    node_put(node);
}
