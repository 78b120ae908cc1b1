/* Runs init's parsers on the host: one subcommand each, input from files, what was understood on standard output. */
#include "dhcp.h"
#include "fwcfg.h"
#include "settings.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A file's bytes in a block of just that size, so that the address sanitizer sees any byte read beyond. */
static char *read_file(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL || fseek(file, 0, SEEK_END) != 0)
        abort();
    *size = (size_t)ftell(file);
    rewind(file);
    char *bytes = malloc(*size);
    if (fread(bytes, 1, *size, file) != *size)
        abort();
    fclose(file);
    return bytes;
}

static int show_settings(int count, char **paths)
{
    static struct settings settings;
    static const char *const ORIGIN[] = {"the image", "the host"};
    char error[SETTINGS_ERROR], *blocks[2] = {NULL, NULL};
    bool good = true;

    for (int i = 0; good && i < count && i < 2; i++) {
        size_t size;
        blocks[i] = read_file(paths[i], &size);
        good = settings_merge(&settings, blocks[i], size, ORIGIN[i], error);
    }
    if (!good || !settings_complete(&settings, error)) {
        printf("%s\n", error);
    } else {
        printf("program %s\n", settings.program);
        for (size_t i = 0; i < settings.argument_count; i++)
            printf("arg %s\n", settings.arguments[i]);
        for (size_t i = 0; i < settings.environment_count; i++)
            printf("env %s\n", settings.environment[i]);
        if (settings.hostname != NULL)
            printf("hostname %s\n", settings.hostname);
        if (settings.net != SETTINGS_NET_NONE)
            printf("net %d %08x/%u %08x %08x\n", settings.net, settings.address, settings.prefix, settings.gateway,
                   settings.nameserver);
        if (settings.net6 == SETTINGS_NET6_STATIC) {
            const unsigned char *all[] = {settings.address6, settings.gateway6, settings.nameserver6};
            char text[INET6_ADDRSTRLEN];
            for (size_t i = 0; i < 3; i++)
                printf("%s %s", i == 0 ? "net6" : "", inet_ntop(AF_INET6, all[i], text, sizeof text));
            printf("\n");
        }
        for (size_t i = 0; i < settings.volume_count; i++)
            printf("volume %s at %s %s\n", settings.volumes[i].serial, settings.volumes[i].mount,
                   settings.volumes[i].read_only ? "ro" : "rw");
        if (settings.clock != 0)
            printf("clock %lld\n", (long long)settings.clock);
        if (settings.root_serial[0] != '\0')
            printf("root %s\n", settings.root_serial);
        for (size_t i = 0; i < settings.secret_count; i++)
            printf("secret %s is %s\n", settings.secrets[i].name, settings.secrets[i].value);
        good = true;
    }
    free(blocks[0]);
    free(blocks[1]);
    return 0;
}

/* A fw_cfg device whose items follow each other in a file: 2 bytes of key and 4 of length, big-endian, then bytes. */
struct device {
    const unsigned char *bytes, *item;
    size_t size, left;
};

static void select_item(void *context, uint16_t key)
{
    struct device *device = context;
    device->left = 0;
    for (size_t at = 0; at + 6 <= device->size;) {
        const unsigned char *head = device->bytes + at;
        size_t length = (size_t)head[2] << 24 | (size_t)head[3] << 16 | (size_t)head[4] << 8 | head[5];
        if ((head[0] << 8 | head[1]) == key) {
            device->item = head + 6;
            device->left = length;
            return;
        }
        at += 6 + length;
    }
}

static void read_item(void *context, void *buffer, size_t size)
{
    struct device *device = context;
    size_t part = size < device->left ? size : device->left;
    memset(buffer, 0, size);
    if (part == 0)
        return;
    memcpy(buffer, device->item, part);
    device->item += part;
    device->left -= part;
}

static int show_file(const char *path)
{
    static const char *const WORDS[] = {"ok", "no device", "no file", "too large", "damaged"};
    struct device memory = {0};
    char *bytes = read_file(path, &memory.size), buffer[16];
    size_t size;
    memory.bytes = (const unsigned char *)bytes;
    const struct fwcfg device = {select_item, read_item, &memory};
    enum fwcfg_result result = fwcfg_file(&device, "opt/rumpel/settings", buffer, sizeof buffer, &size);
    printf("%s %zu %.*s\n", WORDS[result], size, (int)size, buffer);
    free(bytes);
    return 0;
}

static int show_reply(const char *path)
{
    static const unsigned char HARDWARE[6] = {0x52, 0x54, 0, 0x12, 0x34, 0x56};
    struct dhcp_reply reply;
    size_t size;
    char *bytes = read_file(path, &size);
    if (dhcp_parse((const unsigned char *)bytes, size, 0x01020304, HARDWARE, &reply))
        printf("kind %u address %08x/%u server %08x gateway %08x nameserver %08x\n", reply.kind, reply.address,
               reply.prefix, reply.server, reply.gateway, reply.nameserver);
    else
        printf("no reply\n");
    free(bytes);
    return 0;
}

static int build_request(void)
{
    static const unsigned char HARDWARE[6] = {0x52, 0x54, 0, 0x12, 0x34, 0x56};
    unsigned char message[DHCP_MESSAGE_BYTES];
    size_t size = dhcp_build(message, 0x01020304, HARDWARE, 0x0a00020f, 0x0a000202);
    return fwrite(message, 1, size, stdout) == size ? 0 : 1;
}

static int show_times(const char *path)
{
    static const unsigned char HARDWARE[6] = {0x52, 0x54, 0, 0x12, 0x34, 0x56};
    struct dhcp_reply reply;
    size_t size;
    char *bytes = read_file(path, &size);
    if (!dhcp_parse((const unsigned char *)bytes, size, 0x01020304, HARDWARE, &reply))
        abort();
    struct dhcp_times times = dhcp_times(&reply);
    printf("%u %u %u\n", times.renew, times.rebind, times.end);
    free(bytes);
    return 0;
}

static int build_renewal(void)
{
    static const unsigned char HARDWARE[6] = {0x52, 0x54, 0, 0x12, 0x34, 0x56};
    unsigned char message[DHCP_MESSAGE_BYTES];
    size_t size = dhcp_build_renewal(message, 0x01020304, HARDWARE, 0x0a00020f);
    return fwrite(message, 1, size, stdout) == size ? 0 : 1;
}

int main(int argc, char **argv)
{
    if (argc >= 3 && strcmp(argv[1], "settings") == 0)
        return show_settings(argc - 2, argv + 2);
    if (argc == 3 && strcmp(argv[1], "fwcfg") == 0)
        return show_file(argv[2]);
    if (argc == 3 && strcmp(argv[1], "dhcp") == 0)
        return show_reply(argv[2]);
    if (argc == 2 && strcmp(argv[1], "dhcp-request") == 0)
        return build_request();
    if (argc == 2 && strcmp(argv[1], "dhcp-renewal") == 0)
        return build_renewal();
    if (argc == 3 && strcmp(argv[1], "dhcp-times") == 0)
        return show_times(argv[2]);
    return 2;
}
