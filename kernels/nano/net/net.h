/*
 * TCP/IP: between the files of this folder. Everything here is entered from system calls, works and timers alike: the
 * kernel is not preempted, and nothing below lwIP blocks.
 */
#ifndef NET_NET_H
#define NET_NET_H

#include "hal/net.h"
#include "net/hooks.h"

struct pbuf;
struct netif;

/*
 * To be called after lwIP was entered: frames that were put into the ring are told to the device, packets to ourselves
 * are delivered, the timer follows lwIP's, all in one go before the program runs on.
 */
void net_settle(void);

/* device.c: the first network device as lwIP's netif. */
bool net_device_attach(struct hal_net *device);
struct netif *net_device_netif(void);
/* Whether the device fills TCP checksums in. */
bool net_device_checksums(void);
/* The device's own buffers that the sockets hold are given back first when few are left. */
void net_device_poll(void);
void net_device_flush(void);
/* Whether [data, data + size) stays as it is until the machine ends, so that it can be sent from where it lies. */
bool net_memory_is_stable(const void *data, size_t size);

#endif
