#include "settings.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

/* Keys that may stand once in a source, as bits of `seen`; and groups that a source replaces as a whole. */
enum { SEEN_PROGRAM = 1, SEEN_HOSTNAME = 2, SEEN_NET = 4, SEEN_CLOCK = 8, SEEN_ARGUMENT = 16, SEEN_VOLUME = 32, SEEN_ROOT = 64, SEEN_NET6 = 128 };

static const int64_t CLOCK_LIMIT = INT64_C(100) * 366 * 86400; /* a century either way */

struct source {
    const char *origin;
    unsigned seen;
    char *error;
};

/* `text` with control characters replaced and its length bounded, so that it can stand in a sentence. */
static const char *shown(const char *text, char *room, size_t size)
{
    size_t length = 0;
    for (; text[length] != '\0' && length + 4 < size; length++) {
        unsigned char c = (unsigned char)text[length];
        room[length] = c < 0x20 || c >= 0x7f ? '?' : (char)c;
    }
    if (text[length] != '\0') {
        memcpy(room + length, "...", 3);
        length += 3;
    }
    room[length] = '\0';
    return room;
}

static bool wrong(const struct source *source, const char *key, const char *value, const char *why)
{
    char room[72];
    snprintf(source->error, SETTINGS_ERROR, "The setting '%s' of %s is '%s': %s.", key, source->origin,
             shown(value, room, sizeof room), why);
    return false;
}

static bool once(struct source *source, unsigned bit, const char *key, const char *value)
{
    if (source->seen & bit)
        return wrong(source, key, value, "it was given before");
    source->seen |= bit;
    return true;
}

/* A decimal number without sign, at most `limit`, from `*text` on; moves `*text` behind it. */
static bool number(const char **text, uint64_t limit, uint64_t *value)
{
    const char *at = *text;
    uint64_t result = 0;
    if (*at < '0' || *at > '9')
        return false;
    for (; *at >= '0' && *at <= '9'; at++) {
        unsigned digit = (unsigned)(*at - '0');
        if (digit > limit || result > (limit - digit) / 10)
            return false;
        result = result * 10 + digit;
    }
    *text = at;
    *value = result;
    return true;
}

/* An IPv4 address in dotted form from `*text` on; moves `*text` behind it. */
static bool address(const char **text, uint32_t *value)
{
    uint32_t result = 0;
    const char *at = *text;
    for (int part = 0; part < 4; part++) {
        uint64_t byte;
        if (part > 0 && *at++ != '.')
            return false;
        if (at[0] == '0' && at[1] >= '0' && at[1] <= '9')
            return false; /* neither octal nor sloppy */
        if (!number(&at, 255, &byte))
            return false;
        result = result << 8 | (uint32_t)byte;
    }
    *text = at;
    *value = result;
    return true;
}

static bool set_net(struct settings *settings, struct source *source, const char *value)
{
    static const char STATIC[] = "static,";
    const char *at = value;
    uint64_t prefix;

    if (!once(source, SEEN_NET, "net", value))
        return false;
    settings->address = settings->gateway = settings->nameserver = 0;
    settings->prefix = 0;
    if (strcmp(value, "dhcp") == 0) {
        settings->net = SETTINGS_NET_DHCP;
        return true;
    }
    if (strncmp(value, STATIC, sizeof STATIC - 1) != 0)
        return wrong(source, "net", value, "it must be 'dhcp' or 'static,ADDRESS/BITS,GATEWAY,NAMESERVER'");
    at += sizeof STATIC - 1;
    if (!address(&at, &settings->address) || settings->address == 0)
        return wrong(source, "net", value, "its address is not an IPv4 address");
    if (*at++ != '/' || !number(&at, 32, &prefix) || prefix == 0)
        return wrong(source, "net", value, "its address must be followed by '/' and a prefix length from 1 to 32");
    settings->prefix = (unsigned)prefix;
    if (*at++ != ',' || (*at != ',' && !address(&at, &settings->gateway)) || *at++ != ',')
        return wrong(source, "net", value, "its gateway must be an IPv4 address or nothing, between commas");
    if ((*at != '\0' && !address(&at, &settings->nameserver)) || *at != '\0')
        return wrong(source, "net", value, "its name server must be an IPv4 address or nothing, at the end");
    uint32_t mask = UINT32_MAX << (32 - settings->prefix);
    if (settings->gateway != 0 && ((settings->gateway ^ settings->address) & mask) != 0)
        return wrong(source, "net", value, "its gateway is outside of the address's network");
    settings->net = SETTINGS_NET_STATIC;
    return true;
}

static bool is_given(const unsigned char address6[SETTINGS_ADDRESS6])
{
    static const unsigned char NONE[SETTINGS_ADDRESS6];
    return memcmp(address6, NONE, sizeof NONE) != 0;
}

/* An IPv6 address in its text form (RFC 4291, section 2.2) from `*text` on; moves `*text` behind it. */
static bool address6(const char **text, unsigned char value[SETTINGS_ADDRESS6])
{
    char room[INET6_ADDRSTRLEN];
    size_t length = strspn(*text, "0123456789abcdefABCDEF:");
    if (length >= sizeof room)
        return false;
    memcpy(room, *text, length);
    room[length] = '\0';
    *text += length;
    return inet_pton(AF_INET6, room, value) == 1 && is_given(value);
}

static bool set_net6(struct settings *settings, struct source *source, const char *value)
{
    static const char STATIC[] = "static,", PREFIX[] = "/64";
    const char *at = value;

    if (!once(source, SEEN_NET6, "net6", value))
        return false;
    memset(settings->gateway6, 0, sizeof settings->gateway6);
    memset(settings->nameserver6, 0, sizeof settings->nameserver6);
    settings->net6 = SETTINGS_NET6_AUTO;
    if (strcmp(value, "auto") == 0)
        return true;
    if (strncmp(value, STATIC, sizeof STATIC - 1) != 0)
        return wrong(source, "net6", value, "it must be 'auto' or 'static,ADDRESS/64,GATEWAY,NAMESERVER'");
    at += sizeof STATIC - 1;
    if (!address6(&at, settings->address6))
        return wrong(source, "net6", value, "its address is not an IPv6 address");
    if (strncmp(at, PREFIX, sizeof PREFIX - 1) != 0)
        return wrong(source, "net6", value, "its address must be followed by '/64'");
    at += sizeof PREFIX - 1;
    if (*at++ != ',' || (*at != ',' && !address6(&at, settings->gateway6)) || *at++ != ',')
        return wrong(source, "net6", value, "its gateway must be an IPv6 address or nothing, between commas");
    if ((*at != '\0' && !address6(&at, settings->nameserver6)) || *at != '\0')
        return wrong(source, "net6", value, "its name server must be an IPv6 address or nothing, at the end");
    if (is_given(settings->gateway6) && memcmp(settings->gateway6, settings->address6, SETTINGS_PREFIX6 / 8) != 0)
        return wrong(source, "net6", value, "its gateway is outside of the address's network");
    settings->net6 = SETTINGS_NET6_STATIC;
    return true;
}

static bool is_name_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-';
}

/* Labels of letters, digits and inner hyphens, joined by dots (RFC 1123, section 2.1). */
static bool set_hostname(struct settings *settings, struct source *source, const char *value)
{
    size_t length = strlen(value), label = 0;

    if (!once(source, SEEN_HOSTNAME, "hostname", value))
        return false;
    if (length > SETTINGS_HOSTNAME)
        return wrong(source, "hostname", value, "a host name has at most 64 characters");
    for (size_t i = 0; i <= length; i++) {
        if (value[i] == '.' || value[i] == '\0') {
            if (label == 0 || label > 63 || value[i - 1] == '-')
                return wrong(source, "hostname", value, "it is not a host name");
            label = 0;
        } else if (!is_name_byte(value[i]) || (label == 0 && value[i] == '-')) {
            return wrong(source, "hostname", value, "it is not a host name");
        } else {
            label++;
        }
    }
    settings->hostname = value;
    return true;
}

/* Absolute, and without an empty, '.' or '..' element. */
static bool is_plain_path(const char *path)
{
    if (*path != '/')
        return false;
    while (*path == '/') {
        size_t length = strcspn(++path, "/");
        if (length == 0 || (length == 1 && path[0] == '.') || (length == 2 && path[0] == '.' && path[1] == '.'))
            return false;
        path += length;
    }
    return true;
}

static bool set_volume(struct settings *settings, struct source *source, char *value)
{
    char *part[4], *at = value;
    char whole[72];

    shown(value, whole, sizeof whole);
    if (!(source->seen & SEEN_VOLUME)) {
        source->seen |= SEEN_VOLUME;
        settings->volume_count = 0;
    }
    if (settings->volume_count == SETTINGS_VOLUMES)
        return wrong(source, "volume", whole, "there are more than 32 volumes");
    for (int i = 0; i < 4; i++) {
        part[i] = at;
        char *comma = at == NULL ? NULL : strchr(at, ',');
        if ((comma != NULL) != (i < 3))
            return wrong(source, "volume", whole, "it must be 'SERIAL,MOUNTPOINT,ext4,rw' or '...,ro'");
        if (comma != NULL) {
            *comma = '\0';
            at = comma + 1;
        }
    }
    struct settings_volume *volume = &settings->volumes[settings->volume_count];
    size_t length = strlen(part[0]);
    if (length == 0 || length > SETTINGS_SERIAL)
        return wrong(source, "volume", whole, "its serial must have 1 to 20 characters");
    if (!is_plain_path(part[1]))
        return wrong(source, "volume", whole, "its mount point must be an absolute path below '/'");
    if (strcmp(part[2], "ext4") != 0)
        return wrong(source, "volume", whole, "the only filesystem is 'ext4'");
    if (strcmp(part[3], "rw") != 0 && strcmp(part[3], "ro") != 0)
        return wrong(source, "volume", whole, "it must end with 'rw' or 'ro'");
    for (size_t i = 0; i < settings->volume_count; i++)
        if (strcmp(settings->volumes[i].serial, part[0]) == 0 || strcmp(settings->volumes[i].mount, part[1]) == 0)
            return wrong(source, "volume", whole, "its serial or mount point is taken by a volume before it");
    memcpy(volume->serial, part[0], length + 1);
    volume->mount = part[1];
    volume->read_only = part[3][1] == 'o';
    settings->volume_count++;
    return true;
}

static bool set_clock(struct settings *settings, struct source *source, const char *value)
{
    const char *at = value;
    uint64_t seconds;
    bool negative = *at == '-';

    if (!once(source, SEEN_CLOCK, "clock", value))
        return false;
    at += negative;
    if (!number(&at, (uint64_t)CLOCK_LIMIT, &seconds) || *at != '\0')
        return wrong(source, "clock", value, "it must be whole seconds, at most a century either way");
    settings->clock = negative ? -(int64_t)seconds : (int64_t)seconds;
    return true;
}

static bool set_root(struct settings *settings, struct source *source, const char *value)
{
    size_t length = strcspn(value, ",");

    if (!once(source, SEEN_ROOT, "root", value))
        return false;
    if (length == 0 || length > SETTINGS_SERIAL)
        return wrong(source, "root", value, "its serial must have 1 to 20 characters");
    if (strcmp(value + length, ",erofs") != 0)
        return wrong(source, "root", value, "it must be 'SERIAL,erofs'");
    memcpy(settings->root_serial, value, length);
    settings->root_serial[length] = '\0';
    return true;
}

static bool add_argument(struct settings *settings, struct source *source, const char *value)
{
    if (!(source->seen & SEEN_ARGUMENT)) {
        source->seen |= SEEN_ARGUMENT;
        settings->argument_count = 0;
    }
    if (settings->argument_count == SETTINGS_ARGUMENTS)
        return wrong(source, "arg", value, "there are more than 1024 arguments");
    settings->arguments[settings->argument_count++] = value;
    return true;
}

/* The value may be a secret: no sentence shows it. */
static bool set_environment(struct settings *settings, struct source *source, const char *value)
{
    const char *equals = strchr(value, '=');
    if (equals == NULL || equals == value)
        return wrong(source, "env", "...", "it must be 'NAME=VALUE'");
    size_t name = (size_t)(equals - value) + 1; /* with the '=', which no name holds */
    for (size_t i = 0; i < settings->environment_count; i++) {
        if (strncmp(settings->environment[i], value, name) == 0) {
            settings->environment[i] = value;
            return true;
        }
    }
    if (settings->environment_count == SETTINGS_ENVIRONMENT)
        return wrong(source, "env", "...", "there are more than 1024 variables");
    settings->environment[settings->environment_count++] = value;
    return true;
}

static bool is_secret_name(const char *name, size_t length)
{
    if (length == 0 || length > SETTINGS_SECRET_NAME || name[0] == '.' || name[0] == '-')
        return false;
    for (size_t i = 0; i < length; i++)
        if (!is_name_byte(name[i]) && name[i] != '.' && name[i] != '_')
            return false;
    return true;
}

/* No sentence shows the value. */
static bool set_secret(struct settings *settings, struct source *source, char *value)
{
    char *equals = strchr(value, '=');
    size_t at = 0;

    if (equals == NULL || !is_secret_name(value, (size_t)(equals - value)))
        return wrong(source, "secret", "...", "it must be 'NAME=VALUE', the name of letters, digits, '.', '_' and '-'");
    *equals = '\0';
    while (at < settings->secret_count && strcmp(settings->secrets[at].name, value) != 0)
        at++;
    if (at == SETTINGS_SECRETS)
        return wrong(source, "secret", "...", "there are more than 64 secrets");
    if (at == settings->secret_count)
        settings->secret_count++;
    memcpy(settings->secrets[at].name, value, (size_t)(equals - value) + 1);
    settings->secrets[at].value = equals + 1;
    return true;
}

/* Forgets a group, so that a source can say "none". */
static bool clear(struct settings *settings, struct source *source, const char *value)
{
    unsigned group = strcmp(value, "arg") == 0 ? SEEN_ARGUMENT : strcmp(value, "volume") == 0 ? SEEN_VOLUME : 0;

    if (group == 0)
        return wrong(source, "clear", value, "it must be 'arg' or 'volume'");
    if (source->seen & group)
        return wrong(source, "clear", value, "it must stand once, before the records of that key");
    source->seen |= group;
    if (group == SEEN_ARGUMENT)
        settings->argument_count = 0;
    else
        settings->volume_count = 0;
    return true;
}

static bool set(struct settings *settings, struct source *source, const char *key, char *value)
{
    if (strcmp(key, "clear") == 0)
        return clear(settings, source, value);
    if (strcmp(key, "secret") == 0)
        return set_secret(settings, source, value);
    if (strcmp(key, "arg") == 0)
        return add_argument(settings, source, value);
    if (strcmp(key, "env") == 0)
        return set_environment(settings, source, value);
    if (strcmp(key, "volume") == 0)
        return set_volume(settings, source, value);
    if (strcmp(key, "net") == 0)
        return set_net(settings, source, value);
    if (strcmp(key, "net6") == 0)
        return set_net6(settings, source, value);
    if (strcmp(key, "hostname") == 0)
        return set_hostname(settings, source, value);
    if (strcmp(key, "clock") == 0)
        return set_clock(settings, source, value);
    if (strcmp(key, "root") == 0)
        return set_root(settings, source, value);
    if (strcmp(key, "program") == 0) {
        if (!once(source, SEEN_PROGRAM, key, value))
            return false;
        if (!is_plain_path(value))
            return wrong(source, key, value, "it must be an absolute path of a file");
        settings->program = value;
        return true;
    }
    if (strcmp(key, "schema") == 0)
        return wrong(source, key, value, "it was given before");
    char room[72];
    snprintf(source->error, SETTINGS_ERROR, "%s has a setting '%s', which is not known.", source->origin,
             shown(key, room, sizeof room));
    return false;
}

bool settings_merge(struct settings *settings, char *records, size_t size, const char *origin,
                    char error[SETTINGS_ERROR])
{
    struct source source = {origin, 0, error};
    bool first = true;

    if (size > SETTINGS_BYTES) {
        snprintf(error, SETTINGS_ERROR, "The settings of %s are larger than 64 KiB.", origin);
        return false;
    }
    for (size_t at = 0; at < size; first = false) {
        char *record = records + at;
        const char *end = memchr(record, '\0', size - at);
        if (end == NULL) {
            snprintf(error, SETTINGS_ERROR, "The settings of %s are cut off: the last record has no end.", origin);
            return false;
        }
        at += (size_t)(end - record) + 1;
        if (first && strcmp(record, "schema=1") != 0) {
            snprintf(error, SETTINGS_ERROR, "The settings of %s do not begin with 'schema=1'.", origin);
            return false;
        }
        char *equals = strchr(record, '=');
        if (equals == NULL) {
            char room[72];
            snprintf(error, SETTINGS_ERROR, "The settings of %s have a record without '=': '%s'.", origin,
                     shown(record, room, sizeof room));
            return false;
        }
        *equals = '\0';
        if (!first && !set(settings, &source, record, equals + 1))
            return false;
    }
    return true;
}

bool settings_complete(const struct settings *settings, char error[SETTINGS_ERROR])
{
    if (settings->program == NULL) {
        snprintf(error, SETTINGS_ERROR, "The settings name no program to start.");
        return false;
    }
    return true;
}
