/* The network: the loopback device, and the first other device by the settings `net` and `net6`. */
#ifndef RUMPEL_INIT_NETWORK_H
#define RUMPEL_INIT_NETWORK_H

#include "settings.h"

#include <stdint.h>

/* Brings both up and writes /etc/resolv.conf and /etc/hosts (where the image has none). The root must still be
 * writable. With `dhcp` it asks for an address and fills in `settings`. Ends the machine on failure. */
void set_up_network(struct settings *settings);

/* The lease of an address that a DHCP server granted is kept while the program runs: `network_advance` does what is to
 * be done when `network_socket` is readable (-1: there is none), or at `network_due` (milliseconds of `now_ms`;
 * INT64_MAX: never). */
int network_socket(void);
int64_t network_due(void);
void network_advance(void);

#endif
