/* Any bytes as a program: loaded, and what was mapped is looked at. */
#include "fuzz.h"
#include "nano/elf.h"
#include "nano/errno.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static bool started;
    if (!started) {
        host_start((size_t)64 << 20);
        vfs_init();
        vfs_mount_all();
        vm_init();
        started = true;
    }
    struct node *node = tmpfs_create_root("program");
    struct iter iter;
    struct segment segment;
    node->mode = S_IFREG | 0755;
    iter_init_kernel(&iter, &segment, (void *)data, size);
    node->ops->write(node, &iter, 0);
    RUN({
        struct elf_image image;
        const char *why = NULL;
        if (elf_load(node, &image, &why) == 0) {
            const struct vma *area;
            for (size_t i = 0; (area = vm_at(i)); i++) {
                char byte;
                if ((area->protection & (PROT_WRITE | PROT_EXEC)) == (PROT_WRITE | PROT_EXEC) || area->start < HAL_USER_FIRST)
                    abort();
                copy_from_user(&byte, area->start, 1);
            }
        } else if (!why || !*why) {
            abort();
        }
    });
    vm_unmap(HAL_USER_FIRST, HAL_USER_END - 4096 - HAL_USER_FIRST);
    node_put(node);
    return 0;
}
