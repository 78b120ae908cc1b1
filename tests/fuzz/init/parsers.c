/* libFuzzer target for init's parsers. The first byte chooses one; the rest is its input, in a block of its size. */
#include "dhcp.h"
#include "fwcfg.h"
#include "settings.h"

#include <stdlib.h>
#include <string.h>

struct device {
    const uint8_t *bytes;
    size_t left;
};

static void select_item(void *context, uint16_t key)
{
    (void)context;
    (void)key;
}

/* Whatever is selected, the input goes on: an answer that follows no rule. */
static void read_item(void *context, void *buffer, size_t size)
{
    struct device *device = context;
    size_t part = size < device->left ? size : device->left;
    memset(buffer, 0, size);
    memcpy(buffer, device->bytes, part);
    device->bytes += part;
    device->left -= part;
}

static void try_settings(char *bytes, size_t size)
{
    static struct settings settings;
    char error[SETTINGS_ERROR];
    size_t half = size / 2;

    memset(&settings, 0, sizeof settings);
    memset(error, 'x', sizeof error);
    bool good = settings_merge(&settings, bytes, half, "the image", error) &&
                settings_merge(&settings, bytes + half, size - half, "the host", error);
    if (!good || !settings_complete(&settings, error)) {
        if (memchr(error, '\0', sizeof error) == NULL || error[0] == '\0')
            abort();
        return;
    }
    if (settings.program[0] != '/' || settings.volume_count > SETTINGS_VOLUMES || settings.prefix > 32)
        abort();
    for (size_t i = 0; i < settings.volume_count; i++)
        if (strstr(settings.volumes[i].mount, "..") == settings.volumes[i].mount + 1 &&
            strchr("/", settings.volumes[i].mount[3]) != NULL)
            abort();
}

static void try_directory(const uint8_t *bytes, size_t size)
{
    struct device memory = {bytes, size};
    const struct fwcfg device = {select_item, read_item, &memory};
    char *buffer = malloc(64);
    size_t found;
    enum fwcfg_result result = fwcfg_file(&device, "opt/rumpel/settings", buffer, 64, &found);
    if (found > 64 || (result != FWCFG_OK && found != 0))
        abort();
    free(buffer);
}

static void try_reply(const uint8_t *bytes, size_t size)
{
    static const unsigned char HARDWARE[6] = {0x52, 0x54, 0, 0x12, 0x34, 0x56};
    struct dhcp_reply reply;
    if (!dhcp_parse(bytes, size, 0x01020304, HARDWARE, &reply))
        return;
    struct dhcp_times times = dhcp_times(&reply);
    bool forever = times.renew == DHCP_FOREVER && times.end == DHCP_FOREVER;
    bool ordered = 0 < times.renew && times.renew < times.rebind && times.rebind < times.end;
    if (reply.prefix > 32 || !(forever || ordered))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    char *bytes = malloc(size - 1);
    if (size > 1)
        memcpy(bytes, data + 1, size - 1);
    if (data[0] % 3 == 0)
        try_settings(bytes, size - 1);
    else if (data[0] % 3 == 1)
        try_directory((const uint8_t *)bytes, size - 1);
    else
        try_reply((const uint8_t *)bytes, size - 1);
    free(bytes);
    return 0;
}
