/*
 * What lwIP calls of ours: its options (port/lwipopts.h) name these functions.
 */
#ifndef NET_HOOKS_H
#define NET_HOOKS_H

#include "hal/base.h"

struct pbuf;
struct ip_addr;
struct ip6_addr;

/* Memory: NULL where the kernel has little left, so that traffic cannot starve the program (memory.c). */
void *net_memory_alloc(size_t size);
void *net_memory_calloc(size_t count, size_t size);
void net_memory_free(void *block);

/* The router for addresses of IPv6 outside of the network, from the setting `net6`; NULL: what routers announce. */
const struct ip6_addr *net_gateway6(void);

uint32_t net_random32(void);
/* The one's complement sum of bytes in memory order, folded to 16 bits, not inverted (RFC 1071). */
uint16_t net_checksum(const void *data, int length);
/* Look at a packet before lwIP does; always 0: lwIP goes on with it (tcp_listen.c). */
int net_ip4_input(struct pbuf *packet);
int net_ip6_input(struct pbuf *packet);
/* Takes the name server from a DHCP answer. */
void net_dhcp_option(uint8_t option, uint8_t length, struct pbuf *message, uint16_t offset);
/* The initial sequence number of a connection (RFC 6528). Ports in host byte order. */
uint32_t net_tcp_isn(const struct ip_addr *local, uint16_t local_port, const struct ip_addr *remote, uint16_t remote_port);

#endif
