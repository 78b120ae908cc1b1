#include "hal/port.h"

#include "pvh.h"

uint8_t hal_port_read8(uint16_t port) {
    return inb(port);
}

uint16_t hal_port_read16(uint16_t port) {
    uint16_t value;
    __asm__ volatile("inw %1, %0" : "=a"(value) : "Nd"(port) : "memory");
    return value;
}

uint32_t hal_port_read32(uint16_t port) {
    return inl(port);
}

void hal_port_write8(uint16_t port, uint8_t value) {
    outb(port, value);
}

void hal_port_write16(uint16_t port, uint16_t value) {
    outw(port, value);
}

void hal_port_write32(uint16_t port, uint32_t value) {
    outl(port, value);
}
