/*
 * Any bytes as the root filesystem's disk: mounted, then every file is looked at, read and mapped. The first byte says
 * from which request on the disk answers with errors (0: never).
 */
#include "fuzz.h"
#include "hal/driver.h"
#include "host_disk.h"
#include "nano/init.h"
#include "nano/settings.h"

#define FILES 200 /* of a tree that may lead back into itself */

static unsigned files;

static void read_file(struct node *node) {
    char bytes[300];
    node_read_kernel(node, bytes, sizeof bytes, 0);
    if (node->size < (uint64_t)1 << 47)
        node_read_kernel(node, bytes, sizeof bytes, node->size > 10 ? node->size - 10 : 0);
    node_read_kernel(node, bytes, sizeof bytes, node->size / 2);
    if (node->size == 0 || node->size > (uint64_t)1 << 30)
        return;
    int64_t at = vm_map(0, node->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, node, 0, NULL);
    if (at > 0) {
        copy_from_user(bytes, (uintptr_t)at + node->size - 1, 1);
        copy_to_user((uintptr_t)at + node->size / 2, bytes, 1);
        vm_unmap((uintptr_t)at, node->size);
    }
}

static void visit(struct node *node, unsigned depth) {
    if (depth > 8 || ++files > FILES)
        return;
    if ((node->mode & S_IFMT) == S_IFREG)
        read_file(node);
    if ((node->mode & S_IFMT) != S_IFDIR)
        return;
    struct node *found;
    if (vfs_lookup(node, "a/b", 0, &found, NULL) == 0)
        node_put(found);
    if (node->ops->fill)
        node->ops->fill(node);
    for (struct node *child = node->children; child; child = child->next)
        if (child->filesystem == node->filesystem)
            visit(child, depth + 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char settings[] = "schema=1\0root=rootfs,erofs";
    if (size < 1)
        return 0;
    host_start((size_t)4 << 20);
    host_set_initrd(NULL, 0);
    host_set_settings(settings, sizeof settings);
    struct host_disk disk;
    host_disk_create(&disk, "rootfs", data + 1, (size - 1) / HAL_BLK_SECTOR * HAL_BLK_SECTOR);
    disk.fail_from = data[0];
    files = 0;
    RUN({
        vfs_init();
        settings_init();
        initcalls_run(INIT_ROOT);
        vm_init();
        visit(vfs_root, 0);
        vm_unmap(HAL_USER_FIRST, HAL_USER_END - HAL_USER_FIRST);
    });
    host_set_settings(NULL, 0);
    host_disk_free(&disk);
    return 0;
}
