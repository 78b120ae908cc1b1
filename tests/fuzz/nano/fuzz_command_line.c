/*
 * Any bytes as the command line, with any bytes in the registers of the devices that it may name: what stands on it is
 * checked by the settings and by the virtio-mmio driver, which starts what it finds.
 */
#include "fuzz.h"
#include "hal/boot.h"
#include "hal/driver.h"
#include "hal/memory.h"
#include "nano/settings.h"

#define SLOTS (hal_phys_t)0xfeb00000
#define SLOT_SIZE 0x200u
#define REGISTERS 64 /* bytes of each slot's that the input says */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char settings[] = "schema=1";
    if (size < 1)
        return 0;
    unsigned slots = data[0] % 5;
    if (size < 1 + slots * REGISTERS)
        return 0;
    host_start((size_t)8 << 20);
    host_set_settings(settings, sizeof settings);
    for (unsigned i = 0; i < slots; i++) {
        volatile uint8_t *registers = hal_mmio_map(SLOTS + i * SLOT_SIZE, SLOT_SIZE);
        const uint8_t *from = data + 1 + i * REGISTERS;
        for (unsigned at = 0; at < REGISTERS; at++)
            registers[at] = from[at];
        /* Without these a slot is no device, and a line of any text would end there. */
        memcpy((uint8_t *)registers, "virt", 4);
        memset((uint8_t *)registers + 5, 0, 3);
        memset((uint8_t *)registers + 9, 0, 3);
    }
    size_t length = size - 1 - slots * REGISTERS;
    char *line = malloc(length + 1); /* exactly as long, so that a read beyond its end is seen */
    memcpy(line, data + 1 + slots * REGISTERS, length);
    line[length] = '\0';
    host_set_command_line(line);
    RUN({
        vfs_init();
        settings_init();
        hal_drivers_start();
        for (unsigned i = 0; i < HOST_LINES; i++)
            host_interrupt(i);
    });
    host_set_command_line("");
    free(line);
    return 0;
}
