/* The program: started, watched, stopped when the host asks, and reported. */
#ifndef RUMPEL_INIT_SUPERVISE_H
#define RUMPEL_INIT_SUPERVISE_H

#include "settings.h"

/* Starts the program and returns its exit status when it has ended: 0 to 255, or 128 + the signal that killed it. All
 * other processes have ended then, too. Ends the machine where the program cannot be started. */
int supervise(const struct settings *settings);

#endif
