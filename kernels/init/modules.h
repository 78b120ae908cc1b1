/* The kernel modules of the plan. */
#ifndef RUMPEL_INIT_MODULES_H
#define RUMPEL_INIT_MODULES_H

/* Loads /rumpel/modules/NN-NAME.ko in the order of their names. Ends the machine where one cannot be loaded. */
void load_modules(void);

#endif
