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

/* To be called after lwIP was entered: packets to ourselves are delivered, the timer follows lwIP's, before the program goes on. */
void net_settle(void);

/* device.c: the first network device as lwIP's netif. */
bool net_device_attach(struct hal_net *device);
struct netif *net_device_netif(void);
/* Whether the device fills TCP checksums in. */
bool net_device_checksums(void);
/* Takes in what the device has received and sent. */
void net_device_poll(void);
/* Whether [data, data + size) stays as it is until the machine ends, so that it can be sent from where it lies. */
bool net_memory_is_stable(const void *data, size_t size);

#endif
