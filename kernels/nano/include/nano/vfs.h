#ifndef NANO_VFS_H
#define NANO_VFS_H
void vfs_init(void);
#endif
