#include "fwcfg.h"

#include <string.h>

enum {
    KEY_SIGNATURE = 0x0000,
    KEY_DIRECTORY = 0x0019,
    KEY_FIRST_FILE = 0x0020,
    MAXIMUM_FILES = 0x4000 - KEY_FIRST_FILE, /* bits 14 and 15 of a key are flags */
    ENTRY_BYTES = 64,
    NAME_AT = 8,
    NAME_BYTES = 56,
};

static uint32_t big_endian(const unsigned char *bytes, int count)
{
    uint32_t value = 0;
    for (int i = 0; i < count; i++)
        value = value << 8 | bytes[i];
    return value;
}

enum fwcfg_result fwcfg_file(const struct fwcfg *device, const char *name, void *buffer, size_t capacity, size_t *size)
{
    unsigned char entry[ENTRY_BYTES];

    *size = 0;
    device->select(device->context, KEY_SIGNATURE);
    device->read(device->context, entry, 4);
    if (memcmp(entry, "QEMU", 4) != 0)
        return FWCFG_NO_DEVICE;
    device->select(device->context, KEY_DIRECTORY);
    device->read(device->context, entry, 4);
    uint32_t count = big_endian(entry, 4);
    if (count > MAXIMUM_FILES)
        return FWCFG_DAMAGED;
    for (uint32_t i = 0; i < count; i++) {
        device->read(device->context, entry, sizeof entry);
        uint32_t length = big_endian(entry, 4);
        uint32_t key = big_endian(entry + 4, 2);
        const char *found = (const char *)entry + NAME_AT;
        if (memchr(found, '\0', NAME_BYTES) == NULL)
            return FWCFG_DAMAGED;
        if (strcmp(found, name) != 0)
            continue;
        if (key < KEY_FIRST_FILE)
            return FWCFG_DAMAGED;
        if (length > capacity)
            return FWCFG_TOO_LARGE;
        device->select(device->context, (uint16_t)key);
        device->read(device->context, buffer, length);
        *size = length;
        return FWCFG_OK;
    }
    return FWCFG_NO_FILE;
}
