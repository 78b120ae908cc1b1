#include "nano/settings.h"

#include "hal/boot.h"
#include "hal/string.h"
#include "nano/errno.h"
#include "nano/heap.h"
#include "nano/print.h"
#include "nano/program.h"
#include "nano/vfs.h"

#define LIMIT 65536
#define MAX_HOSTNAME 64
#define MAX_SECRET_NAME 64
#define CLOCK_LIMIT (100ull * 366 * 86400) /* a century, in seconds */

/* Two blocks of records; of a key that the host names, the image's records do not count (env, secret: by name). */
static char *image, *host;
static size_t image_size, host_size;

static const char *wrong_clear(const char *value) {
    return strcmp(value, "arg") == 0 || strcmp(value, "volume") == 0 ? NULL : "it must be 'arg' or 'volume'";
}

static const char *wrong_program(const char *value) {
    return value[0] == '/' ? NULL : "it must be an absolute path of a file";
}

static const char *wrong_variable(const char *value) {
    return value[0] != '=' && strchr(value, '=') ? NULL : "it must be 'NAME=VALUE'";
}

static bool in_name(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-';
}

static const char *wrong_secret(const char *value) {
    static const char why[] = "it must be 'NAME=VALUE', the name of letters, digits, '.', '_' and '-'";
    size_t length = 0;
    while (in_name(value[length]) || value[length] == '.' || value[length] == '_')
        length++;
    return value[length] != '=' || length == 0 || length > MAX_SECRET_NAME || value[0] == '.' || value[0] == '-' ? why : NULL;
}

/* Labels of letters, digits and inner hyphens, joined by dots (RFC 1123, section 2.1). */
static const char *wrong_hostname(const char *value) {
    size_t length = strlen(value), label = 0;
    if (length > MAX_HOSTNAME)
        return "a host name has at most 64 characters";
    for (size_t i = 0; i <= length; i++) {
        if (i == length || value[i] == '.') {
            if (label == 0 || label > 63 || value[i - 1] == '-')
                return "it is not a host name";
            label = 0;
        } else if (!in_name(value[i]) || (label++ == 0 && value[i] == '-')) {
            return "it is not a host name";
        }
    }
    return NULL;
}

static const char *wrong_clock(const char *value) {
    uint64_t seconds = 0;
    const char *at = value + (*value == '-');
    bool digits = *at != '\0';
    for (; *at >= '0' && *at <= '9' && seconds <= CLOCK_LIMIT; at++)
        seconds = seconds * 10 + (uint64_t)(*at - '0');
    return digits && *at == '\0' && seconds <= CLOCK_LIMIT ? NULL : "it must be whole seconds, at most a century either way";
}

static const char *wrong_volume(const char *value) {
    (void)value;
    return "this kernel has no filesystem for volumes (kernels that have: linux, debian)";
}

/* Every key: whether it may stand more than once in a source, whether its value may be shown. net, net6 and root are checked where
 * they are used. */
static const struct key {
    const char *name;
    bool repeated, hidden;
    const char *(*wrong)(const char *value); /* why a value cannot be; NULL: it can */
} keys[] = {{"clear", true, false, wrong_clear},     {"program", false, false, wrong_program}, {"arg", true, false, NULL},
            {"env", true, true, wrong_variable},     {"secret", true, true, wrong_secret},     {"hostname", false, false, wrong_hostname},
            {"net", false, false, NULL},             {"root", false, false, NULL},             {"clock", false, false, wrong_clock},
            {"volume", true, false, wrong_volume},   {"net6", false, false, NULL}};

static const struct key *find_key(const char *record, size_t length) {
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        if (strlen(keys[i].name) == length && strncmp(keys[i].name, record, length) == 0)
            return &keys[i];
    return NULL;
}

static void check(const char *block, size_t size, const char *where) {
    unsigned seen = 0;
    if (size == 0)
        return;
    if (block[size - 1] != '\0')
        program_fail(FAIL_SETTINGS, "The settings from %s do not end with a NUL byte.", where);
    if (strcmp(block, "schema=1") != 0)
        program_fail(FAIL_SETTINGS, "The settings from %s do not begin with 'schema=1', the only version known.", where);
    for (const char *record = block + strlen(block) + 1; record < block + size; record += strlen(record) + 1) {
        const char *equals = strchr(record, '=');
        if (!equals)
            program_fail(FAIL_SETTINGS, "The settings from %s have a record without '=': '%.80s'.", where, record);
        int length = (int)(equals - record);
        const struct key *key = find_key(record, (size_t)length);
        if (!key)
            program_fail(FAIL_SETTINGS, "The settings from %s have a key that is not known: '%.*s'.", where, length < 80 ? length : 80, record);
        unsigned bit = 1u << (key - keys);
        const char *why = seen & bit && !key->repeated ? "it was given before" : key->wrong ? key->wrong(equals + 1) : NULL;
        if (why)
            program_fail(FAIL_SETTINGS, "The setting '%s' from %s is '%.80s': %s.", key->name, where, key->hidden ? "..." : equals + 1, why);
        seen |= bit;
    }
}

static void read_image(void) {
    struct node *node;
    if (vfs_lookup(vfs_root, "/rumpel/settings", 0, &node, NULL) != 0)
        return;
    if (node->size > LIMIT)
        program_fail(FAIL_SETTINGS, "The image's settings are larger than %d bytes.", LIMIT);
    image = node->size ? kmalloc(node->size) : NULL;
    if (image && node_read_kernel(node, image, node->size, 0) == (int64_t)node->size)
        image_size = node->size;
    node_put(node);
}

static void read_host(void) {
    char *buffer = kmalloc(LIMIT);
    if (!buffer)
        program_fail(FAIL_MEMORY, "The machine has too little memory to read the settings.");
    int64_t size = hal_settings_read(buffer, LIMIT);
    if (size < 0)
        program_fail(FAIL_SETTINGS, "The settings from the host are larger than %d bytes.", LIMIT);
    if (size > 0) {
        host = kmalloc((size_t)size);
        if (!host)
            program_fail(FAIL_MEMORY, "The machine has too little memory to read the settings.");
        memcpy(host, buffer, (size_t)size);
        memset(buffer, 0, (size_t)size); /* secrets may be in it */
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
            program_fail(FAIL_SETTINGS, "The kernel's command line has a word that is not known: '%.*s'.", length < 80 ? (int)length : 80, line);
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

/* One of the two blocks, or what is left of one. */
struct records {
    const char *at, *end;
};

static struct records of_image(void) {
    return (struct records){image, image ? image + image_size : NULL};
}

static struct records of_host(void) {
    return (struct records){host, host ? host + host_size : NULL};
}

/* The value of the next record of `key`; what is behind it is left. NULL: there is none. */
static const char *next(struct records *records, const char *key) {
    while (records->at < records->end) {
        const char *value = value_of(records->at, key);
        records->at += strlen(records->at) + 1;
        if (value)
            return value;
    }
    return NULL;
}

static const char *nth(struct records records, const char *key, size_t index) {
    const char *value;
    while ((value = next(&records, key)) && index-- > 0) {
    }
    return value;
}

static bool names(struct records records, const char *key, const char *name, size_t length) {
    const char *value;
    while ((value = next(&records, key)))
        if (strncmp(value, name, length) == 0 && value[length] == '=')
            return true;
    return false;
}

/* Whether a record behind this one in its block, or one of the host, gives this one's name another value. */
static bool is_overridden(const char *key, const char *value, struct records behind) {
    size_t length = (size_t)(strchr(value, '=') - value);
    return names(behind, key, value, length) || (behind.end != of_host().end && names(of_host(), key, value, length));
}

/* Value `*index` of those in a block that count; else NULL, with *index less by as many as there are. */
static const char *nth_named(const char *key, struct records records, size_t *index) {
    const char *value;
    while ((value = next(&records, key)))
        if (!is_overridden(key, value, records) && (*index)-- == 0)
            return value;
    return NULL;
}

/* Whether the image's records of a key do not count: the host has its own, or says that there are none. */
static bool host_has_said(const char *key) {
    const char *cleared;
    for (struct records records = of_host(); (cleared = next(&records, "clear"));)
        if (strcmp(cleared, key) == 0)
            return true;
    return nth(of_host(), key, 0) != NULL;
}

/* What a program finds in its environment unless a record says otherwise, as with the Linux kernels' init. */
static const char *const defaults[] = {"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/tmp"};

const char *settings_each(const char *key, size_t index) {
    if (strcmp(key, "env") != 0 && strcmp(key, "secret") != 0)
        return nth(host_has_said(key) ? of_host() : of_image(), key, index);
    if (strcmp(key, "env") == 0)
        for (size_t i = 0; i < sizeof defaults / sizeof defaults[0]; i++)
            if (!is_overridden(key, defaults[i], of_image()) && index-- == 0)
                return defaults[i];
    const char *value = nth_named(key, of_image(), &index);
    return value ? value : nth_named(key, of_host(), &index);
}

const char *settings_get(const char *key) {
    const char *value, *last = NULL;
    for (size_t i = 0; (value = settings_each(key, i)); i++)
        last = value;
    return last;
}
