/*
 * The network device as lwIP's netif: received buffers go up without a copy, sent ones down without a copy.
 */
#include "hal/clock.h"
#include "hal/string.h"
#include "lwip/etharp.h"
#include "lwip/ethip6.h"
#include "lwip/netif.h"
#include "lwip/pbuf.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/prot/ethernet.h"
#include "lwip/prot/ip4.h"
#include "lwip/prot/ip6.h"
#include "lwip/prot/tcp.h"
#include "lwip/prot/udp.h"
#include "netif/ethernet.h"
#include "nano/heap.h"
#include "nano/list.h"
#include "nano/program.h"
#include "nano/timer.h"
#include "nano/work.h"
#include "net/net.h"

#define BUDGET 64
#define FLUSH_AT 8
#define TICK_NS 2000000u
#define WATCH_NS 1000000000u
#define COPY_BELOW 512 /* bytes: a small frame is copied, so that it does not hold a whole receive buffer */
#define READ_BLINDLY 64 /* bytes that lwIP takes to be there: no frame on an Ethernet is shorter than 60 */
#define CHECKED (NETIF_CHECKSUM_CHECK_IP | NETIF_CHECKSUM_CHECK_UDP | NETIF_CHECKSUM_CHECK_TCP | NETIF_CHECKSUM_CHECK_ICMP6 | NETIF_CHECKSUM_CHECK_ICMP)

static struct hal_net *device;
static struct netif netif;
static unsigned held;  /* receive buffers that pbufs hold */
static bool blocked;   /* the ring was full: connections wait for `room` */

/* One received frame on its way through the stack. */
struct received {
    struct pbuf_custom custom;
    struct hal_net_buffer *buffer;
};

static void recycle_one(struct hal_net_buffer *buffer) {
    buffer->next = NULL;
    device->ops->recycle(device, buffer);
}

static void received_free(struct pbuf *pbuf) {
    struct received *received = CONTAINER((struct pbuf_custom *)pbuf, struct received, custom);
    held--;
    recycle_one(received->buffer);
    kfree(received);
}

/* A pbuf of one piece of a frame. The buffer is given back now or when the pbuf is freed. NULL: no memory. */
static struct pbuf *wrap(struct hal_net_buffer *buffer) {
    struct pbuf *pbuf = NULL;
    if (buffer->length > COPY_BELOW && held < device->receive_buffers / 2u) {
        struct received *received = net_memory_alloc(sizeof *received);
        if (received) {
            received->buffer = buffer;
            received->custom.custom_free_function = received_free;
            held++;
            return pbuf_alloced_custom(PBUF_RAW, (u16_t)buffer->length, PBUF_REF, &received->custom, buffer->data, (u16_t)buffer->length);
        }
    } else {
        uint32_t room = buffer->length < READ_BLINDLY ? READ_BLINDLY : buffer->length;
        pbuf = pbuf_alloc(PBUF_RAW, (u16_t)room, PBUF_RAM);
        if (pbuf) {
            memcpy(pbuf->payload, buffer->data, buffer->length);
            memset((uint8_t *)pbuf->payload + buffer->length, 0, room - buffer->length);
            pbuf->len = pbuf->tot_len = (u16_t)buffer->length;
        }
    }
    recycle_one(buffer);
    return pbuf;
}

/* A frame that ends within Ethernet's or ARP's header, which lwIP reads without a look at the length. */
static bool cut_short(const struct pbuf *pbuf) {
    if (pbuf->len < SIZEOF_ETH_HDR)
        return true;
    const struct eth_hdr *header = pbuf->payload;
    return header->type == PP_HTONS(ETHTYPE_ARP) && pbuf->len < SIZEOF_ETH_HDR + SIZEOF_ETHARP_HDR;
}

static void received(void *context, struct hal_net_buffer *frame, enum hal_net_checksum checksum) {
    (void)context;
    struct pbuf *whole = NULL;
    bool lost = false;
    while (frame) {
        struct hal_net_buffer *next = frame->next;
        struct pbuf *pbuf = NULL;
        if (lost)
            recycle_one(frame);
        else if ((pbuf = wrap(frame)) == NULL)
            lost = true;
        else if (whole)
            pbuf_cat(whole, pbuf);
        else
            whole = pbuf;
        frame = next;
    }
    if (lost || cut_short(whole)) {
        if (whole)
            pbuf_free(whole);
        return;
    }
    /* What the device vouches for, or never was on a wire, is not summed again. */
    u16_t flags = netif.chksum_flags;
    netif.chksum_flags = (u16_t)(checksum == HAL_NET_CHECKSUM_NONE ? flags | CHECKED
                                                                    : flags & ~(NETIF_CHECKSUM_CHECK_UDP | NETIF_CHECKSUM_CHECK_TCP));
    if (netif.input(whole, &netif) != ERR_OK)
        pbuf_free(whole);
    netif.chksum_flags = flags;
}

static void sent(void *context, void *cookie) {
    (void)context;
    pbuf_free(cookie);
}

static void retry_all(struct work *work) {
    (void)work;
    for (struct tcp_pcb *pcb = tcp_active_pcbs, *next; pcb; pcb = next) {
        next = pcb->next;
        if (pcb->unsent || pcb->flags & TF_ACK_NOW)
            tcp_output(pcb);
    }
    net_settle();
}
static struct work retry = {.run = retry_all};

static void room(void *context) {
    (void)context;
    blocked = false;
    work_schedule(&retry);
}

/*
 * While frames come in the device is polled each time before the program goes on, without interrupts; they are turned on
 * before the CPU idles. Frames to send are told to the device by FLUSH_AT, or before the CPU idles. A tick bounds both
 * delays while the program computes; without frames between two ticks interrupts are on again.
 */
static void tick_expired(struct timer *timer);
static struct timer tick = {.link = LIST_INIT(tick.link), .expired = tick_expired};
static bool polled;      /* interrupts for received frames are off */
static bool active;      /* frames came or went since the last tick */
static unsigned unsent;  /* frames the device was not told of */

static void start_tick(void) {
    active = true;
    if (!timer_armed(&tick))
        timer_arm(&tick, deadline_after(TICK_NS));
}

static void flush(void) {
    if (unsent) {
        unsent = 0;
        device->ops->flush(device);
    }
}

static bool poll_once(void) {
    unsigned frames = device->ops->poll(device, BUDGET);
    if (frames) {
        start_tick();
        net_settle();
    }
    return frames != 0;
}

static void listen_again(void) {
    polled = false;
    if (device->ops->receive_interrupts(device, true)) {
        device->ops->receive_interrupts(device, false);
        polled = true;
    }
}

static void poller(bool idle) {
    if (device->gone)
        return;
    if (polled)
        poll_once();
    if (!idle) {
        if (unsent >= FLUSH_AT)
            flush();
        return;
    }
    flush();
    if (polled)
        listen_again();
    if (polled)
        poll_once();
}

static void tick_work(struct work *work) {
    (void)work;
    flush();
    if (polled && !active)
        listen_again();
    if (polled)
        start_tick();
    active = false;
}
static struct work ticking = {.run = tick_work};

static void tick_expired(struct timer *timer) {
    (void)timer;
    work_schedule(&ticking);
}

static void interrupt(void *context) {
    (void)context;
    device->ops->receive_interrupts(device, false);
    polled = true;
    start_tick();
}

void net_device_poll(void) {
    if (device && !device->gone)
        poll_once();
}

static bool link_is_up;
static void follow_link(struct work *work) {
    (void)work;
    if (device->gone)
        program_device_lost("The network device is gone.");
    if (link_is_up)
        netif_set_link_up(&netif);
    else
        netif_set_link_down(&netif);
    net_settle();
}
static struct work link_work = {.run = follow_link};

/* A device that goes without a word is missed within WATCH_NS. */
static void watch_expired(struct timer *timer);
static struct timer watch = {.link = LIST_INIT(watch.link), .expired = watch_expired};

static void look_after(struct work *work) {
    (void)work;
    if (device->gone)
        return;
    device->ops->check(device);
    timer_arm(&watch, deadline_after(WATCH_NS));
}
static struct work looking = {.run = look_after};

static void watch_expired(struct timer *timer) {
    (void)timer;
    work_schedule(&looking);
}

static void link(void *context, bool up) {
    (void)context;
    link_is_up = up;
    work_schedule(&link_work);
}

/*
 * Where the transport's checksum is, with the pseudo-header's sum put there for the device to go on from. The headers of
 * our own packets are whole and in the first pbuf.
 */
static void prepare_checksum(struct pbuf *pbuf, struct hal_net_offload *offload) {
    uint8_t *frame = pbuf->payload;
    if (pbuf->len < SIZEOF_ETH_HDR + IP_HLEN)
        return;
    u16_t type = lwip_ntohs(((struct eth_hdr *)(void *)frame)->type);
    uint8_t *ip = frame + SIZEOF_ETH_HDR, protocol;
    size_t header;
    uint16_t length;
    uint32_t sum;
    if (type == ETHTYPE_IP) {
        struct ip_hdr *ip4 = (void *)ip;
        header = IPH_HL_BYTES(ip4);
        protocol = IPH_PROTO(ip4);
        length = (uint16_t)(lwip_ntohs(IPH_LEN(ip4)) - header);
        if (IPH_OFFSET(ip4) & PP_HTONS(IP_OFFMASK | IP_MF))
            return;
        sum = net_checksum(&ip4->src, 8);
    } else if (type == ETHTYPE_IPV6 && pbuf->len >= SIZEOF_ETH_HDR + IP6_HLEN) {
        struct ip6_hdr *ip6 = (void *)ip;
        header = IP6_HLEN;
        protocol = IP6H_NEXTH(ip6);
        length = IP6H_PLEN(ip6);
        sum = net_checksum(&ip6->src, 32);
    } else {
        return;
    }
    unsigned offset = protocol == IP_PROTO_TCP ? offsetof(struct tcp_hdr, chksum) : offsetof(struct udp_hdr, chksum);
    if ((protocol != IP_PROTO_TCP && protocol != IP_PROTO_UDP) || pbuf->len < SIZEOF_ETH_HDR + header + offset + 2)
        return;
    sum += lwip_htons(protocol) + (uint32_t)lwip_htons(length);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    uint16_t start = (uint16_t)sum;
    memcpy(ip + header + offset, &start, 2);
    offload->checksum_start = (uint16_t)(SIZEOF_ETH_HDR + header);
    offload->checksum_offset = (uint16_t)offset;
}

static err_t output(struct netif *of, struct pbuf *pbuf) {
    (void)of;
    HAL_UNINITIALIZED struct hal_net_piece pieces[HAL_NET_MAX_PIECES]; /* `count` of them are */
    struct hal_net_offload offload = {0};
    unsigned count = 0;
    struct pbuf *copy = NULL;
    if (device->gone)
        return ERR_IF;
    if (blocked)
        return ERR_MEM;
    if (device->checksum_offload)
        prepare_checksum(pbuf, &offload);
    if (pbuf_clen(pbuf) > HAL_NET_MAX_PIECES) {
        pbuf = copy = pbuf_clone(PBUF_RAW, PBUF_RAM, pbuf);
        if (!pbuf)
            return ERR_MEM;
    }
    for (struct pbuf *at = pbuf; at; at = at->next)
        if (at->len)
            pieces[count++] = (struct hal_net_piece){at->payload, at->len};
    pbuf_ref(pbuf);
    int status = device->ops->transmit(device, pieces, count, &offload, pbuf, true);
    if (status != 0)
        pbuf_free(pbuf);
    else if (unsent++ == 0)
        start_tick();
    if (copy)
        pbuf_free(copy);
    blocked = status == -HAL_ENOSPC;
    return status == 0 ? ERR_OK : status == -HAL_ENOSPC ? ERR_MEM : ERR_IF;
}

static err_t initialise(struct netif *of) {
    of->name[0] = 'e';
    of->name[1] = 't';
    of->hwaddr_len = ETH_HWADDR_LEN;
    memcpy(of->hwaddr, device->mac, ETH_HWADDR_LEN);
    of->mtu = device->mtu;
    of->mtu6 = device->mtu;
    of->output = etharp_output;
    of->output_ip6 = ethip6_output;
    of->linkoutput = output;
    of->flags = NETIF_FLAG_BROADCAST | NETIF_FLAG_ETHARP | NETIF_FLAG_ETHERNET | NETIF_FLAG_MLD6;
    if (device->link_up)
        of->flags |= NETIF_FLAG_LINK_UP;
    if (device->checksum_offload)
        of->chksum_flags = (u16_t)(of->chksum_flags & ~(NETIF_CHECKSUM_GEN_TCP | NETIF_CHECKSUM_GEN_UDP));
    return ERR_OK;
}

bool net_device_attach(struct hal_net *found) {
    device = found;
    device->handler = (struct hal_net_handler){received, sent, room, interrupt, link, NULL};
    link_is_up = device->link_up;
    if (!netif_add_noaddr(&netif, NULL, initialise, ethernet_input))
        return false;
    netif_set_default(&netif);
    netif_set_up(&netif);
    polled = true;
    work_poller = poller;
    if (device->ops->check)
        timer_arm(&watch, deadline_after(WATCH_NS));
    return true;
}

struct netif *net_device_netif(void) {
    return device ? &netif : NULL;
}

bool net_device_checksums(void) {
    return device && device->checksum_offload;
}
