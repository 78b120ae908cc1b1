/*
 * lwIP's options for nano: NO_SYS, no lock (the kernel is not preempted), all memory from the kernel's heap (net/memory.c
 * bounds it), no API of its own above raw pcbs (net/socket.h is the API).
 */
#ifndef NANO_LWIPOPTS_H
#define NANO_LWIPOPTS_H

#include "net/hooks.h"

#define NO_SYS 1
#define SYS_LIGHTWEIGHT_PROT 0
#define LWIP_NETCONN 0
#define LWIP_SOCKET 0
#define LWIP_TIMERS 1
#define LWIP_RAND() net_random32()

#define MEM_LIBC_MALLOC 1
#define MEMP_MEM_MALLOC 1
#define mem_clib_malloc net_memory_alloc
#define mem_clib_free net_memory_free
#define mem_clib_calloc net_memory_calloc
#define MEM_ALIGNMENT 8
#define MEM_SIZE (1024 * 1024) /* only compared with */
#define MEMP_NUM_SYS_TIMEOUT 16
#define LWIP_SUPPORT_CUSTOM_PBUF 1
#define LWIP_PBUF_REF_T u16_t
#define PBUF_POOL_BUFSIZE 1536

/* Links. */
#define LWIP_ARP 1
#define ARP_QUEUEING 1
#define ARP_QUEUE_LEN 8
#define ARP_TABLE_SIZE 16
#define ETH_PAD_SIZE 0
#define LWIP_HAVE_LOOPIF 1
#define LWIP_NETIF_LOOPBACK 1
#define LWIP_LOOPBACK_MAX_PBUFS 512
#define LWIP_NETIF_HOSTNAME 1
#define LWIP_NETIF_STATUS_CALLBACK 1
#define LWIP_CHECKSUM_CTRL_PER_NETIF 1
#define LWIP_CHECKSUM_ON_COPY 1
#define LWIP_CHKSUM net_checksum
#define LWIP_CHKSUM_ALGORITHM 0

/* IP. */
#define LWIP_IPV4 1
#define LWIP_IPV6 1
#define LWIP_ICMP 1
#define LWIP_RAW 0
#define LWIP_DHCP 1
#define LWIP_DNS 0
#define DHCP_DOES_ARP_CHECK 0 /* two seconds of waiting at each start */
#define LWIP_AUTOIP 0
#define LWIP_IGMP 0
#define IP_FORWARD 0
#define IP_REASSEMBLY 1
#define IP_REASS_MAX_PBUFS 48 /* two datagrams of 64 KiB */
#define IP_FRAG 1
#define IP_OPTIONS_ALLOWED 0
#define IP_SOF_BROADCAST 1
#define IP_SOF_BROADCAST_RECV 0
#define LWIP_IPV6_MLD 1
#define LWIP_IPV6_AUTOCONFIG 1
#define LWIP_IPV6_DHCP6 0
#define LWIP_IPV6_FORWARD 0
#define IPV6_FRAG_COPYHEADER 1 /* with pointers of 64 bits the notes of reassembly do not fit into the header */
#define LWIP_ND6_QUEUEING 0 /* its queue has no bound; one packet waits for each neighbour */
#define LWIP_ND6_RDNSS_MAX_DNS_SERVERS 0
#define LWIP_MULTICAST_TX_OPTIONS 1
#define IP_DEFAULT_TTL 64
#define LWIP_HOOK_IP4_INPUT(pbuf, netif) net_ip4_input(pbuf)
#define LWIP_HOOK_IP6_INPUT(pbuf, netif) net_ip6_input(pbuf)
#define LWIP_HOOK_ND6_GET_GW(netif, destination) net_gateway6()
#define LWIP_HOOK_DHCP_PARSE_OPTION(netif, dhcp, state, message, type, option, length, pbuf, offset) \
    net_dhcp_option(option, length, pbuf, offset)

/* UDP. */
#define LWIP_UDP 1
#define LWIP_UDPLITE 0
#define LWIP_NETBUF_RECVINFO 0

/* TCP. Timers: delayed acknowledgements after 100 ms, retransmission counted in 200 ms. */
#define LWIP_TCP 1
#define TCP_TMR_INTERVAL 100
#define TCP_MSL 30000u
#define TCP_MSS 1460
#define LWIP_WND_SCALE 1
#define TCP_RCV_SCALE 2
#define TCP_WND (208 * 1024)
#define TCP_SND_BUF (256 * 1024)
#define TCP_SND_QUEUELEN 1024
#define TCP_SNDLOWAT 32768
#define TCP_SNDQUEUELOWAT 512
#define TCP_QUEUE_OOSEQ 1
#define TCP_OOSEQ_MAX_BYTES (64 * 1024)
#define TCP_OOSEQ_MAX_PBUFS 64
#define LWIP_TCP_SACK_OUT 1
#define TCP_OVERSIZE TCP_MSS
#define TCP_LISTEN_BACKLOG 1 /* bounds half-open connections; net/tcp_listen.c counts the others */
#define TCP_DEFAULT_LISTEN_BACKLOG 255
#define TCP_CALCULATE_EFF_SEND_MSS 1
#define LWIP_TCP_KEEPALIVE 1
#define LWIP_TCP_CALC_INITIAL_CWND(mss) ((tcpwnd_size_t)(10u * (mss))) /* RFC 6928 */
#define LWIP_HOOK_TCP_ISN net_tcp_isn
#define SO_REUSE 1
#define LWIP_CALLBACK_API 1

#define LWIP_STATS 0
#define LWIP_PERF 0

#endif
