#include "fwcfg.h"

#include <sys/io.h>

enum { PORT_SELECTOR = 0x510, PORT_DATA = 0x511 };

static void select_item(void *context, uint16_t key)
{
    (void)context;
    outw(key, PORT_SELECTOR);
}

static void read_item(void *context, void *buffer, size_t size)
{
    (void)context;
    insb(PORT_DATA, buffer, size);
}

const struct fwcfg fwcfg_ports = {select_item, read_item, NULL};
