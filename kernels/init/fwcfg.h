/* QEMU's fw_cfg device: a file looked up by name in its directory (QEMU, docs/specs/fw_cfg.rst).
 *
 * The directory's parser sees the device only through `struct fwcfg`, so that it runs on the host against any bytes. */
#ifndef RUMPEL_INIT_FWCFG_H
#define RUMPEL_INIT_FWCFG_H

#include <stddef.h>
#include <stdint.h>

/* `select` chooses an item and goes back to its first byte; `read` takes its next `size` bytes. Reading behind an
 * item's end gives zero bytes; neither can fail. */
struct fwcfg {
    void (*select)(void *context, uint16_t key);
    void (*read)(void *context, void *buffer, size_t size);
    void *context;
};

enum fwcfg_result {
    FWCFG_OK,
    FWCFG_NO_DEVICE,  /* nothing at the ports says "QEMU" */
    FWCFG_NO_FILE,    /* the directory does not name it */
    FWCFG_TOO_LARGE,  /* it has more than `capacity` bytes */
    FWCFG_DAMAGED,    /* the directory cannot be one */
};

/* Reads the file `name` (at most 55 characters) into `buffer`; `*size` is what it holds after FWCFG_OK, else 0. */
enum fwcfg_result fwcfg_file(const struct fwcfg *device, const char *name, void *buffer, size_t capacity,
                             size_t *size);

/* The device at I/O ports 0x510 and 0x511. The caller must have the right to use them (iopl). */
extern const struct fwcfg fwcfg_ports;

#endif
