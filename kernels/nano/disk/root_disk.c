/*
 * The root filesystem on a disk: the setting `root`, SERIAL,erofs.
 */
#include "erofs.h"
#include "hal/driver.h"
#include "hal/string.h"
#include "nano/init.h"
#include "nano/program.h"
#include "nano/settings.h"

static struct hal_blk *find_disk(const char *serial, size_t length) {
    struct hal_blk *device = hal_blk_first();
    while (device && (strlen(device->serial) != length || strncmp(device->serial, serial, length) != 0))
        device = device->next;
    return device;
}

static void mount_root(void) {
    static struct disk disk;
    const char *value = settings_get("root"), *why;
    if (!value)
        return;
    const char *end = strchr(value, ',');
    if (!end || end == value || strcmp(end, ",erofs") != 0)
        program_fail(FAIL_SETTINGS, "The setting 'root' is '%s', not SERIAL,erofs.", value);
    int length = (int)(end - value);
    struct hal_blk *device = find_disk(value, (size_t)length);
    if (!device)
        program_fail(FAIL_ROOT_DISK, "The machine has no disk with the serial number '%.*s', where the root filesystem is.", length, value);
    disk_open(&disk, device);
    struct node *root = erofs_mount(&disk, &why);
    if (!root)
        program_fail(strcmp(why, "the machine has too little memory") == 0 ? FAIL_MEMORY : FAIL_ROOT_DISK, "The root filesystem's disk '%.*s' cannot be mounted: %s.", length,
                     value, why);
    vfs_set_root(root);
}
INITCALL(INIT_ROOT, mount_root);
