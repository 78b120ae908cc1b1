/* Names, clock, limits and random numbers of the machine. */
#ifndef RUMPEL_INIT_SYSTEM_H
#define RUMPEL_INIT_SYSTEM_H

#include "settings.h"

/* Sets host name, wall clock and resource limits. Ends the machine on failure. */
void set_up_system(const struct settings *settings);

/* Gives the kernel's random number generator a seed from the entropy device, where there is one, so that getrandom()
 * does not wait. */
void seed_random(void);

#endif
