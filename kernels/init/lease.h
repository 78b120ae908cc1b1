/* A DHCP client: asks for an address, keeps its lease, and asks again when it is lost (RFC 2131, section 4.4).
 *
 * It never waits: `lease_advance` does what is to be done by now. The device's address is the caller's business. */
#ifndef RUMPEL_INIT_LEASE_H
#define RUMPEL_INIT_LEASE_H

#include "dhcp.h"

#include <net/if.h>
#include <stdint.h>

enum lease_state { LEASE_SELECTING, LEASE_REQUESTING, LEASE_BOUND, LEASE_RENEWING, LEASE_REBINDING };

/* What has changed: an address was granted (`granted`), or the device may not have it any longer. */
enum lease_event { LEASE_UNCHANGED, LEASE_GRANTED, LEASE_LOST };

struct lease {
    char device[IFNAMSIZ];
    unsigned char hardware[6];
    enum lease_state state;
    int fd; /* -1: nothing is asked for now */
    uint32_t transaction, offered;
    int64_t due, wait; /* when something is to be done, and how long the next answer is waited for, in milliseconds */
    int64_t asked_at, renew_at, rebind_at, end_at;
    struct dhcp_reply granted;
};

/* Prepares to ask on a device, which must be up. */
void lease_begin(struct lease *lease, const char *device, const unsigned char hardware[6]);

/* Takes what servers have sent, and sends what is due at `now` (milliseconds of `now_ms`). After LEASE_LOST the address
 * is to be taken from the device before the next call. */
enum lease_event lease_advance(struct lease *lease, int64_t now);

#endif
