/*
 * Drivers: how they are found and what they offer. A driver that is linked is started; which ones are linked is the
 * plan's decision.
 */
#ifndef HAL_DRIVER_H
#define HAL_DRIVER_H

#include "hal/base.h"
#include "hal/blk.h"
#include "hal/console.h"
#include "hal/entropy.h"
#include "hal/net.h"

/* A bus or a device without a bus. `start` looks for its hardware; finding none is no error. */
struct hal_driver {
    const char *name;
    unsigned order; /* 0: buses, 1: devices that stand alone */
    void (*start)(void);
};
#define HAL_DRIVER_TABLE(driver) \
    static const struct hal_driver *const driver##_row __attribute__((used, section(".rodata.hal_drivers"))) = &(driver)

/* Starts every linked driver. Called once by the kernel, when its page allocator and heap work. */
void hal_drivers_start(void);

/* Empties the lists of devices: only for the host platform, which starts several machines in one process. */
void hal_drivers_forget(void);

/*
 * Memory for drivers: zeroed, aligned to 64 bytes, physically contiguous; page-aligned from a page upwards. Never freed.
 * NULL: there is none.
 */
void *hal_driver_alloc(size_t size);
/* The same, but what it holds is undefined: for what a device writes to before anybody reads it. */
void *hal_driver_buffer(size_t size);

/* Called by drivers for each device they found; the lists keep the order of finding. */
void hal_blk_register(struct hal_blk *device);
void hal_net_register(struct hal_net *device);
void hal_console_register(struct hal_console *device);
void hal_entropy_register(struct hal_entropy *device);

/* The first device of each kind; NULL: none. */
struct hal_blk *hal_blk_first(void);
struct hal_net *hal_net_first(void);
struct hal_console *hal_console_first(void);
struct hal_entropy *hal_entropy_first(void);

/* A line on the console, with the driver's name before it. */
void hal_driver_log(const char *name, const char *format, ...) HAL_PRINTF(2, 3);

#endif
