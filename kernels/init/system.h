/* Names, clock, limits and random numbers of the machine. */
#ifndef RUMPEL_INIT_SYSTEM_H
#define RUMPEL_INIT_SYSTEM_H

#include "settings.h"

#include <stdbool.h>

/* Sets host name, wall clock and resource limits. Ends the machine on failure. */
void set_up_system(const struct settings *settings);

/* Gives the kernel's random number generator a seed from the entropy device, where there is one, so that getrandom()
 * does not wait. */
void seed_random(void);

/* Takes `NANOSECONDS SEED` from the host: the wall clock since 1970, and 32 bytes in hexadecimal that no other copy of
 * this machine gets, from which all random numbers follow from now on. False, and nothing was done, where the words are
 * others; where the kernel refuses, that is said and the rest is done. */
bool renew_system(const char *words);

#endif
