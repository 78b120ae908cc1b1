/*
 * I/O ports of the PC, for the drivers of its old devices.
 */
#ifndef HAL_PORT_H
#define HAL_PORT_H

#include "hal/base.h"

uint8_t hal_port_read8(uint16_t port);
uint16_t hal_port_read16(uint16_t port);
uint32_t hal_port_read32(uint16_t port);
void hal_port_write8(uint16_t port, uint8_t value);
void hal_port_write16(uint16_t port, uint16_t value);
void hal_port_write32(uint16_t port, uint32_t value);

#endif
