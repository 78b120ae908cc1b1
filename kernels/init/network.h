/* The network: the loopback device, and the first other device by the setting `net`. */
#ifndef RUMPEL_INIT_NETWORK_H
#define RUMPEL_INIT_NETWORK_H

#include "settings.h"

/* Brings both up and writes /etc/resolv.conf and /etc/hosts (where the image has none). The root must still be
 * writable. With `dhcp` it asks for an address and fills in `settings`. Ends the machine on failure. */
void set_up_network(struct settings *settings);

#endif
