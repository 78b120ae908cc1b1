/* Time for waits. */
#ifndef RUMPEL_INIT_DEADLINE_H
#define RUMPEL_INIT_DEADLINE_H

#include <stdint.h>

/* Milliseconds on a clock that only goes forward. */
int64_t now_ms(void);

/* Sleeps; shorter where a signal arrives. */
void pause_ms(long milliseconds);

#endif
