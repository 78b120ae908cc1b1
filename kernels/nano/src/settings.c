#include "nano/settings.h"

#include "hal/boot.h"
#include "hal/string.h"
#include "nano/errno.h"
#include "nano/heap.h"
#include "nano/print.h"
#include "nano/program.h"
#include "nano/vfs.h"

#define LIMIT 65536

/* Two blocks of records; of a key that the host names, the image's records do not count (env: by variable). */
static char *image, *host;
static size_t image_size, host_size;

static const char *key_end(const char *record) {
    return strchr(record, '=');
}

static void check(const char *block, size_t size, const char *where) {
    static const char *const known[] = {"schema", "clear", "program", "arg", "env", "hostname", "net", "volume", "root", "clock"};
    if (size == 0)
        return;
    if (block[size - 1] != '\0')
        program_fail("The settings from %s do not end with a NUL byte.", where);
    for (const char *record = block; record < block + size; record += strlen(record) + 1) {
        const char *end = key_end(record);
        if (!end)
            program_fail("The settings from %s have a record without '=': '%s'.", where, record);
        bool found = false;
        for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
            found |= strlen(known[i]) == (size_t)(end - record) && strncmp(record, known[i], (size_t)(end - record)) == 0;
        if (!found)
            kprintf("nano: the setting '%s' from %s is unknown and is ignored\n", record, where);
    }
    if (strncmp(block, "schema=1", 9) != 0)
        program_fail("The settings from %s do not begin with 'schema=1', the only version known.", where);
}

static void read_image(void) {
    struct node *node;
    if (vfs_lookup(vfs_root, "/rumpel/settings", 0, &node, NULL) != 0)
        return;
    if (node->size > LIMIT)
        program_fail("The image's settings are larger than %d bytes.", LIMIT);
    image = node->size ? kmalloc(node->size) : NULL;
    if (image && node_read_kernel(node, image, node->size, 0) == (int64_t)node->size)
        image_size = node->size;
    node_put(node);
}

static void read_host(void) {
    char *buffer = kmalloc(LIMIT);
    if (!buffer)
        program_fail("The machine has too little memory to read the settings.");
    int64_t size = hal_settings_read(buffer, LIMIT);
    if (size < 0)
        program_fail("The settings from the host are larger than %d bytes.", LIMIT);
    if (size > 0) {
        host = kmalloc((size_t)size);
        if (!host)
            program_fail("The machine has too little memory to read the settings.");
        memcpy(host, buffer, (size_t)size);
        host_size = (size_t)size;
    }
    kfree(buffer);
}

/* The kernel has no words of its own on the command line; virtio-mmio has one. */
static void check_command_line(const char *line) {
    while (*line) {
        size_t length = 0;
        while (line[length] && line[length] != ' ')
            length++;
        if (length && strncmp(line, "virtio_mmio.device=", 19) != 0)
            kprintf("nano: the word '%.*s' on the kernel's command line is unknown and is ignored\n", (int)length, line);
        line += length + (line[length] == ' ');
    }
}

void settings_init(void) {
    check_command_line(hal_boot()->command_line);
    read_image();
    read_host();
    check(image, image_size, "the image");
    check(host, host_size, "the host");
}

static const char *value_of(const char *record, const char *key) {
    size_t length = strlen(key);
    return strncmp(record, key, length) == 0 && record[length] == '=' ? record + length + 1 : NULL;
}

static const char *nth(const char *block, size_t size, const char *key, size_t index) {
    for (const char *record = block; record < block + size; record += strlen(record) + 1) {
        const char *value = value_of(record, key);
        if (value && index-- == 0)
            return value;
    }
    return NULL;
}

static bool host_sets_variable(const char *variable) {
    size_t length = (size_t)(strchr(variable, '=') ? strchr(variable, '=') - variable : (ptrdiff_t)strlen(variable));
    const char *other;
    for (size_t i = 0; (other = nth(host, host_size, "env", i)); i++)
        if (strncmp(other, variable, length) == 0 && other[length] == '=')
            return true;
    return false;
}

/* Whether the image's records of a key do not count: the host has its own, or says that there are none. */
static bool host_has_said(const char *key) {
    const char *cleared;
    for (size_t i = 0; (cleared = nth(host, host_size, "clear", i)); i++)
        if (strcmp(cleared, key) == 0)
            return true;
    return nth(host, host_size, key, 0) != NULL;
}

const char *settings_each(const char *key, size_t index) {
    if (strcmp(key, "env") != 0)
        return host_has_said(key) ? nth(host, host_size, key, index) : nth(image, image_size, key, index);
    const char *value;
    for (size_t i = 0; (value = nth(image, image_size, key, i)); i++)
        if (!host_sets_variable(value) && index-- == 0)
            return value;
    return nth(host, host_size, key, index);
}

const char *settings_get(const char *key) {
    const char *value, *last = NULL;
    for (size_t i = 0; (value = settings_each(key, i)); i++)
        last = value;
    return last;
}
