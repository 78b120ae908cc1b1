/*
 * Input from the PC's first serial port (National Semiconductor PC16550D data sheet). Output goes by hal_log(), which the
 * platform has before there are drivers.
 */
#include "hal/cpu.h"
#include "hal/driver.h"
#include "hal/port.h"

#define PORT 0x3f8
#define LINE 4

static struct hal_console console = {.name = "uart16550"};

static void interrupt(void *context) {
    (void)context;
    char text[16];
    size_t length = 0;
    while (hal_port_read8(PORT + 5) & 1) {
        text[length++] = (char)hal_port_read8(PORT);
        if (length == sizeof text) {
            if (console.input)
                console.input(text, length);
            length = 0;
        }
    }
    if (length && console.input)
        console.input(text, length);
}

static const struct hal_console_ops ops = {NULL};

static void start(void) {
    if (hal_port_read8(PORT + 5) == 0xff || hal_irq_connect(LINE, false, (struct hal_irq){interrupt, NULL}) != 0)
        return;
    console.ops = &ops;
    hal_console_register(&console);
    hal_port_write8(PORT + 1, 1); /* tell of received bytes */
}

static const struct hal_driver uart16550 = {"uart16550", 1, start};
HAL_DRIVER_TABLE(uart16550);
