#include "nano/vfs.h"
void vfs_init(void) {
}
