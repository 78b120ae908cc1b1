/*
 * What a part of the kernel does once at boot, without a list elsewhere that names it.
 */
#ifndef NANO_INIT_H
#define NANO_INIT_H

#include "hal/base.h"

enum init_stage {
    INIT_CORE,    /* page allocator, heap and clock work; nothing else */
    INIT_DEVICES, /* after hal_drivers_start() */
    INIT_ROOT,    /* the initrd and the settings are there: another root may be put in its place */
    INIT_MOUNTS,  /* the root is there: mount /dev, /proc, volumes */
    INIT_FILES,   /* the root filesystem and the settings are there: mount, configure the network */
};

struct initcall {
    void (*run)(void);
    uint64_t stage;
};
#define INITCALL(stage, function) \
    static const struct initcall initcall_##function __attribute__((used, section(".rodata.initcalls"), aligned(8))) = {function, stage}

void initcalls_run(enum init_stage stage);

#endif
