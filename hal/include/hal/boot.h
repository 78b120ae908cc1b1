/*
 * What the machine was started with. All of it is valid and unchanged from kernel_main() until the end.
 */
#ifndef HAL_BOOT_H
#define HAL_BOOT_H

#include "hal/base.h"

struct hal_boot {
    const char *command_line; /* never NULL; NUL-terminated */
    const void *initrd;       /* page-aligned; NULL: none */
    size_t initrd_size;       /* bytes */
};

const struct hal_boot *hal_boot(void);

/*
 * Copies the settings that the host passed at start (fw_cfg file `opt/rumpel/settings`) to `buffer`. Returns their
 * length in bytes, 0 where there are none, -HAL_ENOSPC where `size` is too small. Does not block.
 */
int64_t hal_settings_read(void *buffer, size_t size);

/* Sends one line (without its newline) to the host by the control channel. Does not block for longer than the UART. */
void hal_control_send(const char *line);

/*
 * Ends the machine; does not return. `hal_exit` is the orderly end (isa-debug-exit, then reset); `code`, at most 127, is
 * what the host sees of it: QEMU's exit status is 2 * code + 1. The volumes must have been written back before.
 */
enum hal_exit_code { HAL_EXIT_PROGRAM = 0, HAL_EXIT_PANIC = 1, HAL_EXIT_KERNEL = 2 /* the kernel's own codes: from here on */ };
HAL_NORETURN void hal_exit(unsigned code);

/*
 * Reports a bug of ours or a condition nobody can go on from: a crash report on the console, `panic` on the control
 * channel, the end of the machine. May be called in any context.
 */
HAL_NORETURN void hal_panic(const char *format, ...) HAL_PRINTF(1, 2);

#endif
