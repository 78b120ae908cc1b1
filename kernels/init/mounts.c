#define _GNU_SOURCE 1
#include "mounts.h"

#include "deadline.h"
#include "report.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DEVICE_DEADLINE_MS = 5000, DEVICE_POLL_MS = 2, UNMOUNT_TRIES = 50, UNMOUNT_POLL_MS = 20 };

static const char *mounted[SETTINGS_VOLUMES];
static size_t mounted_count;

/* Creates the folder `path` and those above it; true where it exists in the end. */
static bool make_folder(const char *path)
{
    char part[PATH_MAX];
    size_t length = strlen(path);
    if (length >= sizeof part)
        return false;
    for (size_t i = 1; i <= length; i++) {
        if (path[i] != '/' && path[i] != '\0')
            continue;
        memcpy(part, path, i);
        part[i] = '\0';
        if (mkdir(part, 0755) != 0 && errno != EEXIST)
            return false;
    }
    return true;
}

static void mount_at(const char *type, const char *path, unsigned long flags, const char *options)
{
    if (!make_folder(path))
        fail("The folder '%s' could not be created: %s.", path, strerror(errno));
    if (mount(type, path, type, flags, options) != 0)
        fail("The filesystem '%s' could not be mounted at '%s': %s.", type, path, strerror(errno));
}

int mount_devices(void)
{
    if (!make_folder("/dev") || mount("devtmpfs", "/dev", "devtmpfs", MS_NOSUID | MS_NOEXEC, "mode=0755") != 0)
        return errno;
    return 0;
}

void mount_memory(void)
{
    mount_at("proc", "/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
    mount_at("tmpfs", "/run", MS_NOSUID | MS_NODEV, "mode=0755");
    mount_at("tmpfs", "/tmp", MS_NOSUID | MS_NODEV, "mode=1777");
    mount_at("tmpfs", "/dev/shm", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=1777");
    static const char *const LINKS[][2] = {
        {"/proc/self/fd", "/dev/fd"},
        {"/proc/self/fd/0", "/dev/stdin"},
        {"/proc/self/fd/1", "/dev/stdout"},
        {"/proc/self/fd/2", "/dev/stderr"},
    };
    for (size_t i = 0; i < sizeof LINKS / sizeof LINKS[0]; i++)
        if (symlink(LINKS[i][0], LINKS[i][1]) != 0 && errno != EEXIST)
            fail("The link '%s' could not be created: %s.", LINKS[i][1], strerror(errno));
}

/* Whether the block device `name` has the virtio serial `serial`. */
static bool has_serial(const char *name, const char *serial)
{
    char path[sizeof "/sys/block//serial" + NAME_MAX], found[SETTINGS_SERIAL + 2] = "";
    snprintf(path, sizeof path, "/sys/block/%s/serial", name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t size = read(fd, found, sizeof found - 1);
    close(fd);
    if (size <= 0)
        return false;
    found[strcspn(found, "\n")] = '\0';
    return strcmp(found, serial) == 0;
}

/* The path of the device with that serial, into `device`; false where there is none now. */
static bool find_device(const char *serial, char *device, size_t size)
{
    DIR *folder = opendir("/sys/block");
    bool found = false;
    if (folder == NULL)
        return false;
    for (const struct dirent *entry; !found && (entry = readdir(folder)) != NULL;) {
        if (entry->d_name[0] == '.' || !has_serial(entry->d_name, serial))
            continue;
        snprintf(device, size, "/dev/%s", entry->d_name);
        found = access(device, F_OK) == 0;
    }
    closedir(folder);
    return found;
}

/* Waits for the device with that serial; false where it does not appear in time. Needs /sys. */
static bool await_device(const char *serial, char *device, size_t size)
{
    for (int64_t end = now_ms() + DEVICE_DEADLINE_MS; !find_device(serial, device, size);) {
        if (now_ms() >= end)
            return false;
        pause_ms(DEVICE_POLL_MS);
    }
    return true;
}

static void mount_sys(void)
{
    mount_at("sysfs", "/sys", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY, NULL);
}

static void unmount_sys(void)
{
    umount2("/sys", MNT_DETACH); /* a view of the kernel, with nothing to write back */
}

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *place)
{
    (void)info;
    (void)kind;
    (void)place;
    (void)remove(path); /* what is busy, a mount point, stays */
    return 0;
}

void switch_root(const struct settings *settings)
{
    static const char *const MOUNTS[] = {"/dev", "/proc", "/run", "/tmp"};
    static const char ROOT[] = "/root-disk";
    char device[sizeof "/dev/" + NAME_MAX], target[sizeof ROOT + NAME_MAX];

    if (settings->root_serial[0] == '\0')
        return;
    mount_sys();
    if (!await_device(settings->root_serial, device, sizeof device))
        fail("The root filesystem is missing: no block device has the serial '%s'.", settings->root_serial);
    unmount_sys();
    if (!make_folder(ROOT) || mount(device, ROOT, "erofs", MS_RDONLY | MS_NODEV | MS_NOATIME, NULL) != 0)
        fail("The root filesystem could not be mounted from '%s': %s.", device, strerror(errno));
    for (size_t i = 0; i < sizeof MOUNTS / sizeof MOUNTS[0]; i++) {
        snprintf(target, sizeof target, "%s%s", ROOT, MOUNTS[i]);
        if (mount(MOUNTS[i], target, NULL, MS_MOVE, NULL) != 0)
            fail("'%s' could not be moved to the root filesystem: %s.", MOUNTS[i], strerror(errno));
    }
    (void)nftw("/", remove_entry, 8, FTW_PHYS | FTW_MOUNT | FTW_DEPTH);
    if (chdir(ROOT) != 0 || mount(".", "/", NULL, MS_MOVE, NULL) != 0 || chroot(".") != 0 || chdir("/") != 0)
        fail("The root filesystem could not become the root: %s.", strerror(errno));
}

static void mount_volume(const struct settings_volume *volume)
{
    char device[sizeof "/dev/" + NAME_MAX];

    if (!await_device(volume->serial, device, sizeof device))
        fail("The volume for '%s' is missing: no block device has the serial '%s'.", volume->mount, volume->serial);
    if (!make_folder(volume->mount))
        fail("The folder '%s' could not be created: %s.", volume->mount, strerror(errno));
    /* A write error must not be followed by further writes over a filesystem that is no longer what it was. */
    unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOATIME | (volume->read_only ? MS_RDONLY : 0);
    if (mount(device, volume->mount, "ext4", flags, "errors=remount-ro") != 0)
        fail("The volume '%s' could not be mounted at '%s': %s.", volume->serial, volume->mount, strerror(errno));
    mounted[mounted_count++] = volume->mount;
}

void mount_volumes(const struct settings *settings)
{
    if (settings->volume_count == 0)
        return;
    mount_sys();
    for (size_t i = 0; i < settings->volume_count; i++)
        mount_volume(&settings->volumes[i]);
    unmount_sys();
}

void seal_root(void)
{
    if (mount(NULL, "/", NULL, MS_REMOUNT | MS_RDONLY, NULL) != 0)
        fail("The root filesystem could not be made read-only: %s.", strerror(errno));
}

void unmount_volumes(void)
{
    while (mounted_count > 0) {
        const char *path = mounted[--mounted_count];
        int tries = 0;
        while (umount2(path, 0) != 0) {
            if (errno != EBUSY || ++tries == UNMOUNT_TRIES) {
                say("The volume at '%s' could not be unmounted: %s.", path, strerror(errno));
                sync();
                break;
            }
            pause_ms(UNMOUNT_POLL_MS);
        }
    }
}
