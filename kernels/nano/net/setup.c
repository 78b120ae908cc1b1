/*
 * The network at boot: lwIP, its timer, the addresses from the settings `net` and `net6`.
 */
#include "hal/boot.h"
#include "hal/clock.h"
#include "hal/driver.h"
#include "hal/string.h"
#include "lwip/dhcp.h"
#include "lwip/etharp.h"
#include "lwip/ethip6.h"
#include "lwip/init.h"
#include "lwip/ip6_addr.h"
#include "lwip/netif.h"
#include "lwip/pbuf.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/sys.h"
#include "lwip/timeouts.h"
#include "nano/errno.h"
#include "nano/file.h"
#include "nano/init.h"
#include "nano/print.h"
#include "nano/process.h"
#include "nano/program.h"
#include "nano/settings.h"
#include "nano/thread.h"
#include "nano/timer.h"
#include "nano/vfs.h"
#include "nano/work.h"
#include "net/net.h"

#define NS_PER_MS 1000000u
#define DHCP_DEADLINE_NS 30000000000ull
#define DHCP_DNS_SERVERS 6

static struct timer timer;
static uint32_t name_server; /* network byte order; 0: none */
static ip6_addr_t gateway6, name_server6; /* any: none */
static bool ready, tcp_timed;

u32_t sys_now(void) {
    return (u32_t)(hal_clock_monotonic() / NS_PER_MS);
}

static void settle(struct work *work) {
    (void)work;
    netif_poll_all();
    /* Of lwIP's timers only TCP's comes and goes; the others run all the time. */
    bool tcp = tcp_active_pcbs || tcp_tw_pcbs;
    if (timer_armed(&timer) && tcp == tcp_timed)
        return;
    tcp_timed = tcp;
    u32_t sleep = sys_timeouts_sleeptime();
    if (sleep == SYS_TIMEOUTS_SLEEPTIME_INFINITE) {
        timer_cancel(&timer);
        return;
    }
    /* A timer that is due a little early only costs an interrupt; each change would cost more. */
    uint64_t deadline = deadline_after((uint64_t)sleep * NS_PER_MS);
    if (!timer_armed(&timer) || timer.deadline > deadline + NS_PER_MS)
        timer_arm(&timer, deadline + NS_PER_MS / 2);
}
static struct work settling = {.run = settle};

void net_settle(void) {
    work_schedule(&settling);
}

static void run_timeouts(struct work *work) {
    (void)work;
    /* What the device has sent and received comes first: a segment that was acknowledged is not sent again. */
    net_device_poll();
    sys_check_timeouts();
    net_settle();
}
static struct work timeouts = {.run = run_timeouts};

static void expired(struct timer *which) {
    (void)which;
    work_schedule(&timeouts);
}

void net_dhcp_option(uint8_t option, uint8_t length, struct pbuf *message, uint16_t offset) {
    if (option == DHCP_DNS_SERVERS && length >= 4)
        pbuf_copy_partial(message, &name_server, 4, offset);
}

/* A file of /run, and a link to it in /etc, where the image has no such file of its own: the root is only read. */
static void write_file(const char *name, const char *text) {
    char file[32], link[32], target[32];
    hal_format(file, sizeof file, "/run/%s", name);
    hal_format(link, sizeof link, "/etc/%s", name);
    hal_format(target, sizeof target, "../run/%s", name);
    int64_t status = vfs_write_file(file, 0644, text, strlen(text));
    if (status >= 0)
        status = vfs_symlink_path(link, target);
    if (status < 0 && status != -EEXIST)
        kprintf("nano: The file '%s' could not be written (error %d).\n", link, (int)-status);
}

/* When a program can see them first: most never look, and to write them takes longer than the rest of the set-up. */
static void write_names(void) {
    char text[192], address[40];
    struct file *file;
    vfs_mkdir_path("/etc");
    if (vfs_open(NULL, "/etc/hosts", O_RDONLY, 0, &file) == 0) {
        file_put(file);
    } else {
        hal_format(text, sizeof text, "127.0.0.1 localhost\n::1 localhost\n127.0.1.1 %s\n", process.hostname);
        write_file("hosts", text);
    }
    size_t length = 0;
    if (name_server) {
        ip4_addr_t server = {name_server};
        length = hal_format(text, sizeof text, "nameserver %s\n", ip4addr_ntoa_r(&server, address, sizeof address));
    }
    if (!ip6_addr_isany(&name_server6)) {
        ip6addr_ntoa_r(&name_server6, address, sizeof address);
        for (char *at = address; *at; at++)
            *at |= 0x20; /* small letters (RFC 5952, 4.3); digits and ':' have the bit */
        length += hal_format(text + length, sizeof text - length, "nameserver %s\n", address);
    }
    if (length)
        write_file("resolv.conf", text);
}

static bool leased(void) {
    return dhcp_supplied_address(net_device_netif());
}

static void wait_for_lease(void) {
    uint64_t deadline = deadline_after(DHCP_DEADLINE_NS);
    while (!leased()) {
        if (hal_clock_monotonic() >= deadline)
            program_fail(FAIL_NETWORK, "No DHCP server answered within 30 s.");
        /* lwIP's works run while this thread sleeps; a tenth of a second is short against the server's answer. */
        thread_block(deadline_after(NS_PER_MS * 10u), false);
    }
}

/* One dotted address up to `end`, which may be any character but a digit or a dot. False: it is none. */
static bool parse_address(const char **text, ip4_addr_t *address) {
    uint32_t value = 0;
    const char *at = *text;
    for (unsigned part = 0; part < 4; part++) {
        unsigned number = 0, digits = 0;
        for (; *at >= '0' && *at <= '9' && digits < 3; at++, digits++)
            number = number * 10 + (unsigned)(*at - '0');
        if (digits == 0 || number > 255 || (part < 3 && *at++ != '.'))
            return false;
        value = value << 8 | number;
    }
    *text = at;
    address->addr = lwip_htonl(value);
    return true;
}

static bool parse_static(const char *text, ip4_addr_t *address, ip4_addr_t *mask, ip4_addr_t *gateway) {
    ip4_addr_t server = {0};
    unsigned bits = 0, digits = 0;
    if (!parse_address(&text, address) || *text++ != '/')
        return false;
    for (; *text >= '0' && *text <= '9' && digits < 2; text++, digits++)
        bits = bits * 10 + (unsigned)(*text - '0');
    if (digits == 0 || bits > 32)
        return false;
    mask->addr = lwip_htonl(bits ? UINT32_MAX << (32 - bits) : 0);
    if (*text++ != ',' || (*text != ',' && !parse_address(&text, gateway)))
        return false;
    if (*text++ != ',' || (*text && !parse_address(&text, &server)) || *text)
        return false;
    name_server = server.addr;
    return true;
}

static int hexadecimal(char c) {
    return c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
}

/* One address of eight groups, `::` for those of zeros (RFC 4291, 2.2; no dotted end), up to what cannot belong to it. */
static bool parse_address6(const char **text, ip6_addr_t *address) {
    uint16_t groups[8] = {0}, value[8] = {0};
    int count = 0, gap = -1;
    const char *at = *text;
    if (at[0] == ':' && at[1] == ':') {
        gap = 0;
        at += 2;
    }
    while (count < 8 && hexadecimal(*at) >= 0) {
        for (int digits = 0; digits < 4 && hexadecimal(*at) >= 0; digits++, at++)
            groups[count] = (uint16_t)(groups[count] << 4 | hexadecimal(*at));
        count++;
        if (at[0] == ':' && at[1] == ':' && gap < 0) {
            gap = count;
            at += 2;
        } else if (at[0] == ':' && hexadecimal(at[1]) >= 0 && count < 8) {
            at++;
        } else {
            break;
        }
    }
    if (gap < 0 ? count != 8 : count == 8)
        return false;
    int before = gap < 0 ? 8 : gap;
    for (int i = 0; i < count; i++)
        value[i < before ? i : 8 - count + i] = lwip_htons(groups[i]);
    memset(address, 0, sizeof *address);
    memcpy(address->addr, value, sizeof value);
    *text = at;
    return true;
}

static bool parse_static6(const char *text, ip6_addr_t *address) {
    static const char prefix[] = "/64,";
    if (!parse_address6(&text, address) || ip6_addr_isany(address) || strncmp(text, prefix, sizeof prefix - 1) != 0)
        return false;
    text += sizeof prefix - 1;
    if ((*text != ',' && (!parse_address6(&text, &gateway6) || !ip6_addr_netcmp_zoneless(&gateway6, address))) || *text++ != ',')
        return false;
    return (!*text || parse_address6(&text, &name_server6)) && !*text;
}

const ip6_addr_t *net_gateway6(void) {
    return ip6_addr_isany(&gateway6) ? NULL : &gateway6;
}

/* Addresses of IPv6: the link-local one, and those that routers announce or the one that is fixed. */
static void set_up6(struct netif *netif, const ip6_addr_t *fixed) {
    netif_create_ip6_linklocal_address(netif, 1);
    netif_set_ip6_autoconfig_enabled(netif, fixed == NULL);
    if (!fixed)
        return;
    /* In use at once: nobody is asked whether he has it, as with an address of IPv4. */
    netif_ip6_addr_set(netif, 1, fixed);
    netif_ip6_addr_set_state(netif, 1, IP6_ADDR_PREFERRED);
}

static void start_stack(void) {
    if (ready)
        return;
    ready = true;
    timer_init(&timer, expired);
    lwip_init();
    /* Packets to ourselves never meet a wire: nothing to sum. */
    NETIF_SET_CHECKSUM_CTRL(netif_get_by_index(1), NETIF_CHECKSUM_DISABLE_ALL);
    net_settle();
}

static void set_up(void) {
    const char *net = settings_get("net"), *net6 = settings_get("net6");
    gateway6 = name_server6 = (ip6_addr_t){0};
    start_stack();
    program_start_line = "start listen"; /* see tcp_listen.c */
    vfs_make_late(write_names);
    if (!net && !net6)
        return;
    struct hal_net *device = hal_net_first();
    if (!device)
        program_fail(FAIL_NETWORK, "The setting '%s' asks for a network, but there is no network device.", net ? "net" : "net6");
    ip4_addr_t address = {0}, mask = {0}, gateway = {0};
    ip6_addr_t address6;
    bool dhcp = net && strcmp(net, "dhcp") == 0, fixed6 = net6 && strcmp(net6, "auto") != 0;
    if (net && !dhcp && (strncmp(net, "static,", 7) != 0 || !parse_static(net + 7, &address, &mask, &gateway)))
        program_fail(FAIL_SETTINGS, "The setting 'net' is '%.80s'; it must be 'dhcp' or 'static,ADDRESS/BITS,GATEWAY,NAMESERVER'.", net);
    if (fixed6 && (strncmp(net6, "static,", 7) != 0 || !parse_static6(net6 + 7, &address6)))
        program_fail(FAIL_SETTINGS, "The setting 'net6' is '%.120s'; it must be 'auto' or 'static,ADDRESS/64,GATEWAY,NAMESERVER'.", net6);
    if (!net_device_attach(device))
        program_fail(FAIL_MEMORY, "The network device could not be set up: there is no memory for it.");
    struct netif *netif = net_device_netif();
    netif_set_hostname(netif, process.hostname);
    set_up6(netif, fixed6 ? &address6 : NULL);
    if (dhcp) {
        if (dhcp_start(netif) != ERR_OK)
            program_fail(FAIL_MEMORY, "DHCP could not be started: there is no memory for it.");
        net_settle();
        wait_for_lease();
    } else {
        netif_set_addr(netif, &address, &mask, &gateway);
        if (gateway.addr)
            etharp_request(netif, &gateway); /* the first answer to a peer need not wait for it */
        net_settle();
    }
}
INITCALL(INIT_FILES, set_up);
