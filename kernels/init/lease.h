/* A DHCP client for one address at start. */
#ifndef RUMPEL_INIT_LEASE_H
#define RUMPEL_INIT_LEASE_H

#include "settings.h"

/* Asks on the device `name`, which is up, and fills in address, prefix, gateway and name server of `settings`.
 * Ends the machine where no server grants an address within the deadline. */
void obtain_lease(const char *name, const unsigned char hardware[6], struct settings *settings);

#endif
