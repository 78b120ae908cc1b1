/* Secrets become files that only root may read, in memory, and are forgotten here. */
#ifndef RUMPEL_INIT_SECRETS_H
#define RUMPEL_INIT_SECRETS_H

#include "settings.h"

/* Writes each secret to /run/secrets/NAME, mode 0400, in a folder of mode 0700; then overwrites it in the settings'
 * records. /run must be a memory filesystem. Without secrets there is no folder. Ends the machine on failure. */
void write_secrets(struct settings *settings);

#endif
