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
};

/* Builds a discovery (`address` and `server` 0) or the request for an offer; returns its length in bytes. */
size_t dhcp_build(unsigned char message[DHCP_MESSAGE_BYTES], uint32_t transaction, const unsigned char hardware[6],
                  uint32_t address, uint32_t server);

/* Whether `message` is a well-formed answer to this transaction of this device; fills `reply` where it is. */
bool dhcp_parse(const unsigned char *message, size_t size, uint32_t transaction, const unsigned char hardware[6],
                struct dhcp_reply *reply);

#endif
