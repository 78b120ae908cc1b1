/* The first and only process of ours in a guest with a Linux kernel: prepares the machine, starts the program, and
 * takes its exit status to the host. docs/guest-linux.md describes the order. */
#define _GNU_SOURCE 1
#include "fwcfg.h"
#include "modules.h"
#include "mounts.h"
#include "network.h"
#include "report.h"
#include "secrets.h"
#include "settings.h"
#include "supervise.h"
#include "system.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/io.h>
#include <sys/klog.h>
#include <sys/stat.h>
#include <unistd.h>

static const char IMAGE_SETTINGS[] = "/rumpel/settings";
static const char HOST_SETTINGS[] = "opt/rumpel/settings";

/* syslog(2): from here on the kernel's errors stand on the console, too. Before, it complains of what a small machine
 * lacks by design. */
enum { CONSOLE_LEVEL = 8, SHOW_ERRORS = 4 };

static struct settings settings;
static char image_records[SETTINGS_BYTES];
static char host_records[SETTINGS_BYTES];

static size_t read_image(void)
{
    struct stat info;
    size_t size = 0;
    int fd = open(IMAGE_SETTINGS, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        if (errno == ENOENT)
            return 0;
        fail("The image's settings '%s' could not be opened: %s.", IMAGE_SETTINGS, strerror(errno));
    }
    if (fstat(fd, &info) != 0 || info.st_size > SETTINGS_BYTES)
        fail("The image's settings '%s' are larger than 64 KiB.", IMAGE_SETTINGS);
    for (ssize_t done; size < sizeof image_records; size += (size_t)done) {
        done = read(fd, image_records + size, sizeof image_records - size);
        if (done < 0)
            fail("The image's settings '%s' could not be read: %s.", IMAGE_SETTINGS, strerror(errno));
        if (done == 0)
            break;
    }
    close(fd);
    return size;
}

static size_t read_host(void)
{
    size_t size = 0;
    if (iopl(3) != 0)
        return 0; /* a machine without I/O ports has no fw_cfg there */
    enum fwcfg_result result = fwcfg_file(&fwcfg_ports, HOST_SETTINGS, host_records, sizeof host_records, &size);
    if (iopl(0) != 0)
        fail("The right to use I/O ports could not be given up: %s.", strerror(errno));
    if (result == FWCFG_TOO_LARGE)
        fail("The host's settings '%s' are larger than 64 KiB.", HOST_SETTINGS);
    if (result == FWCFG_DAMAGED)
        fail("The host's directory of fw_cfg files is damaged.");
    return size;
}

static void read_settings(void)
{
    char error[SETTINGS_ERROR];
    if (!settings_merge(&settings, image_records, read_image(), "the image", error) ||
        !settings_merge(&settings, host_records, read_host(), "the host", error) ||
        !settings_complete(&settings, error))
        fail("%s", error);
}

int main(void)
{
    if (getpid() != 1)
        return 1; /* it would take over the machine that it was called on */
    umask(022);
    klogctl(CONSOLE_LEVEL, NULL, SHOW_ERRORS);
    int error = mount_devices();
    report_open_console();
    report_open_control();
    if (error != 0)
        fail("The filesystem 'devtmpfs' could not be mounted at '/dev': %s.", strerror(error));
    mount_memory();
    read_settings();
    write_secrets(&settings);
    load_modules();
    switch_root(&settings);
    seed_random();
    set_up_system(&settings);
    mount_volumes(&settings);
    set_up_network(&settings);
    seal_root();
    int status = supervise(&settings);
    unmount_volumes();
    tell("exit %d", status);
    end_machine();
}
