/* The tree that the program sees: pseudo filesystems, memory filesystems, volumes, a read-only root. */
#ifndef RUMPEL_INIT_MOUNTS_H
#define RUMPEL_INIT_MOUNTS_H

#include "settings.h"

/* /dev. Returns 0 or errno: the console, which could say so, is opened only after it. */
int mount_devices(void);

/* /proc, /run, /tmp, /dev/shm. Ends the machine on failure. */
void mount_memory(void);

/* Where the root filesystem is on a disk: waits for it, mounts it, and makes it the root, the mounts so far included.
 * What the initramfs holds is removed first, so that its memory is free. Ends the machine on failure. */
void switch_root(const struct settings *settings);

/* Waits for each volume's device, by its serial, and mounts it. Ends the machine on failure. */
void mount_volumes(const struct settings *settings);

/* Makes the root filesystem read-only. Ends the machine on failure. */
void seal_root(void);

/* Unmounts what mount_volumes mounted, last first. No other process may run. Says what could not be unmounted
 * (what is on it was written back all the same). */
void unmount_volumes(void);

#endif
