/* What lies in a virtqueue's memory, as a device sees it (Virtio 1.1, 2.6.5 and 2.6.8), apart from the driver's own. */
#ifndef TEST_RING_H
#define TEST_RING_H

#include <stdint.h>

struct descriptor {
    uint64_t address;
    uint32_t length;
    uint16_t flags, next;
};
struct used_element {
    uint32_t id, length;
};

#endif
