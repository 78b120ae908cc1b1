/*
 * The settings: /rumpel/settings of the image, then those of fw_cfg (docs/architecture.md).
 */
#ifndef NANO_SETTINGS_H
#define NANO_SETTINGS_H

#include "hal/base.h"

/* Reads both. Ends the machine with `fail` where they are malformed. After the root filesystem is there. */
void settings_init(void);
/* The value of a key; NULL: not set. The last one where it is repeated. Valid for ever. */
const char *settings_get(const char *key);
/* The values of a repeated key in order: index 0, 1, ...; NULL after the last. */
const char *settings_each(const char *key, size_t index);

#endif
