/* DHCP messages (RFC 2131, RFC 2132): built and parsed. Pure logic; what arrives is taken for hostile. */
#ifndef RUMPEL_INIT_DHCP_H
#define RUMPEL_INIT_DHCP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DHCP_MESSAGE_BYTES = 576, DHCP_DISCOVER = 1, DHCP_OFFER = 2, DHCP_REQUEST = 3, DHCP_ACK = 5, DHCP_NAK = 6 };

/* Addresses in host byte order; 0: absent. */
struct dhcp_reply {
    unsigned kind; /* DHCP_OFFER, DHCP_ACK or DHCP_NAK */
    uint32_t address, server, gateway, nameserver;
    unsigned prefix; /* 1 to 32; 0: absent, or not a mask */
    uint32_t lease, renewal, rebinding; /* seconds, as the server said them; 0: absent */
};

/* Seconds after a lease was asked for: from when its own server is asked to prolong it (T1), from when any server is
 * (T2), and when it is over. `renew` < `rebind` < `end`; or all are DHCP_FOREVER. */
struct dhcp_times {
    uint32_t renew, rebind, end;
};

#define DHCP_FOREVER UINT32_MAX

/* Builds a discovery (`address` and `server` 0) or the request for an offer; returns its length in bytes. */
size_t dhcp_build(unsigned char message[DHCP_MESSAGE_BYTES], uint32_t transaction, const unsigned char hardware[6],
                  uint32_t address, uint32_t server);

/* Builds the request to prolong the lease of `address`, which the device has (RFC 2131, section 4.3.6: RENEWING). */
size_t dhcp_build_renewal(unsigned char message[DHCP_MESSAGE_BYTES], uint32_t transaction,
                          const unsigned char hardware[6], uint32_t address);

/* What the lease times of an answer mean; where they contradict each other, RFC 2131's own (section 4.4.5). */
struct dhcp_times dhcp_times(const struct dhcp_reply *reply);

/* Whether `message` is a well-formed answer to this transaction of this device; fills `reply` where it is. */
bool dhcp_parse(const unsigned char *message, size_t size, uint32_t transaction, const unsigned char hardware[6],
                struct dhcp_reply *reply);

#endif
