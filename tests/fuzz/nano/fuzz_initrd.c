/* Any bytes as the root filesystem's archive: parsed, then every file is looked at, read and mapped. */
#include "fuzz.h"

static void visit(struct node *node, unsigned depth) {
    char path[PATH_MAX], bytes[256];
    vfs_path(node, path, sizeof path);
    if ((node->mode & S_IFMT) == S_IFREG && node->ops->read) {
        node_read_kernel(node, bytes, sizeof bytes, 0);
        node_read_kernel(node, bytes, sizeof bytes, node->size > 10 ? node->size - 10 : 0);
        if (node->size) {
            int64_t at = vm_map(0, node->size, PROT_READ, MAP_PRIVATE, node, 0, NULL);
            if (at > 0) {
                if (copy_from_user(bytes, (uintptr_t)at + node->size - 1, 1) != 0)
                    abort();
                vm_unmap((uintptr_t)at, node->size);
            }
        }
    }
    struct node *found;
    if (vfs_lookup(vfs_root, path, 0, &found, NULL) == 0)
        node_put(found);
    for (struct node *child = node->children; child && depth < 50; child = child->next)
        if (child->filesystem == node->filesystem)
            visit(child, depth + 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    host_start((size_t)8 << 20);
    host_set_initrd(data, size);
    RUN({
        vfs_init();
        vfs_mount_all();
        vm_init();
        visit(vfs_root, 0);
        vm_unmap(HAL_USER_FIRST, HAL_USER_END - HAL_USER_FIRST);
    });
    return 0;
}
