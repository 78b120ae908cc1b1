/* The settings of one start: what the image says, overridden by what the host says.
 *
 * Pure logic: no system call, no allocation. The form of the records and the rules of merging are those of
 * docs/architecture.md, "What passes between host and guest". */
#ifndef RUMPEL_INIT_SETTINGS_H
#define RUMPEL_INIT_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    SETTINGS_BYTES = 65536, /* the largest set of records that one source may give */
    SETTINGS_ARGUMENTS = 1024,
    SETTINGS_ENVIRONMENT = 1024,
    SETTINGS_VOLUMES = 32,
    SETTINGS_SECRETS = 64,
    SETTINGS_SECRET_NAME = 64, /* the longest name of a secret */
    SETTINGS_SERIAL = 20,  /* VIRTIO_BLK_ID_BYTES, virtio 1.1 section 5.2.6 */
    SETTINGS_HOSTNAME = 64, /* __NEW_UTS_LEN */
    SETTINGS_ADDRESS6 = 16, /* bytes */
    SETTINGS_PREFIX6 = 64,  /* the only one (RFC 4291, section 2.5.1) */
    SETTINGS_ERROR = 256,
};

enum settings_net6 { SETTINGS_NET6_AUTO, SETTINGS_NET6_STATIC };
enum settings_net { SETTINGS_NET_NONE, SETTINGS_NET_STATIC, SETTINGS_NET_DHCP };

struct settings_volume {
    char serial[SETTINGS_SERIAL + 1];
    const char *mount; /* absolute, no '..' */
    bool read_only;
};

/* A file for the program, `name` in /run/secrets. `value` lies in the records and may be overwritten. */
struct settings_secret {
    char name[SETTINGS_SECRET_NAME + 1];
    char *value;
};

/* Addresses of IPv4 are in host byte order, those of IPv6 as they are sent; 0 stands for "none". Strings point into the buffers given to settings_merge. */
struct settings {
    const char *program;
    const char *arguments[SETTINGS_ARGUMENTS];
    size_t argument_count;
    const char *environment[SETTINGS_ENVIRONMENT];
    size_t environment_count;
    const char *hostname;
    enum settings_net net;
    uint32_t address, gateway, nameserver;
    unsigned prefix; /* 1 to 32 */
    enum settings_net6 net6;
    unsigned char address6[SETTINGS_ADDRESS6], gateway6[SETTINGS_ADDRESS6], nameserver6[SETTINGS_ADDRESS6];
    struct settings_volume volumes[SETTINGS_VOLUMES];
    size_t volume_count;
    char root_serial[SETTINGS_SERIAL + 1]; /* of the disk with the root filesystem; empty: the initramfs is the root */
    int64_t clock; /* seconds to add to the wall clock */
    struct settings_secret secrets[SETTINGS_SECRETS];
    size_t secret_count;
};

/* Merges the `size` bytes of records at `records` over what `settings` holds (all zero bytes at first). `records` is
 * written to and must outlive `settings`. Returns false and a sentence in `error` at the first record that is wrong;
 * `settings` is then not to be used. `origin` says in that sentence whose records these are. */
bool settings_merge(struct settings *settings, char *records, size_t size, const char *origin,
                    char error[SETTINGS_ERROR]);

/* Whether the merged settings can start a program; a sentence in `error` where not. */
bool settings_complete(const struct settings *settings, char error[SETTINGS_ERROR]);

#endif
