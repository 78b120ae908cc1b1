#define _GNU_SOURCE 1
#include "network.h"

#include "deadline.h"
#include "lease.h"
#include "report.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <net/route.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DEVICE_DEADLINE_MS = 5000, DEVICE_POLL_MS = 2, LEASE_DEADLINE_MS = 15000 };

static struct lease lease = {.fd = -1, .due = INT64_MAX};

static void bring_up(int fd, const char *name)
{
    struct ifreq request = {0};
    memcpy(request.ifr_name, name, strnlen(name, IFNAMSIZ - 1));
    if (ioctl(fd, SIOCGIFFLAGS, &request) == 0) {
        request.ifr_flags |= IFF_UP;
        if (ioctl(fd, SIOCSIFFLAGS, &request) == 0)
            return;
    }
    fail("The network device '%s' could not be brought up: %s.", name, strerror(errno));
}

/* The device with the smallest index that is an Ethernet device; false where there is none now. */
static bool find_device(int fd, struct ifreq *device)
{
    bool found = false;
    int smallest = 0;
    struct if_nameindex *all = if_nameindex();
    for (struct if_nameindex *at = all; at != NULL && at->if_index != 0; at++) {
        struct ifreq request = {0};
        memcpy(request.ifr_name, at->if_name, strnlen(at->if_name, IFNAMSIZ - 1));
        if (ioctl(fd, SIOCGIFHWADDR, &request) != 0 || request.ifr_hwaddr.sa_family != 1 /* ARPHRD_ETHER */)
            continue;
        if (found && (int)at->if_index > smallest)
            continue;
        found = true;
        smallest = (int)at->if_index;
        *device = request;
    }
    if_freenameindex(all);
    return found;
}

static struct sockaddr internet(uint32_t address)
{
    struct sockaddr_in result = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(address)};
    struct sockaddr plain;
    memcpy(&plain, &result, sizeof plain);
    return plain;
}

static bool set_address(int fd, const char *name, uint32_t address, unsigned prefix)
{
    struct ifreq request = {0};
    memcpy(request.ifr_name, name, strnlen(name, IFNAMSIZ - 1));
    request.ifr_addr = internet(address);
    if (ioctl(fd, SIOCSIFADDR, &request) != 0)
        return false;
    request.ifr_netmask = internet(prefix == 0 ? 0 : UINT32_MAX << (32 - prefix));
    return address == 0 || ioctl(fd, SIOCSIFNETMASK, &request) == 0;
}

static bool set_gateway(int fd, uint32_t gateway)
{
    struct rtentry route = {
        .rt_dst = internet(0),
        .rt_genmask = internet(0),
        .rt_gateway = internet(gateway),
        .rt_flags = RTF_UP | RTF_GATEWAY,
    };
    return gateway == 0 || ioctl(fd, SIOCADDRT, &route) == 0;
}

/* The gateway that a server named, where it lies in the network; else none. */
static uint32_t gateway_of(const struct dhcp_reply *granted)
{
    uint32_t mask = UINT32_MAX << (32 - granted->prefix);
    return ((granted->gateway ^ granted->address) & mask) == 0 ? granted->gateway : 0;
}

/* `struct in6_ifreq` of Linux's <linux/ipv6.h>. */
struct address6_request {
    struct in6_addr address;
    uint32_t prefix;
    int index;
};

/* Sets what Linux does on its own with IPv6 on a device: a file of /proc/sys/net/ipv6/conf. */
static bool set_own_ipv6(const char *device, const char *what, const char *value)
{
    char path[sizeof "/proc/sys/net/ipv6/conf//accept_dad" + IFNAMSIZ];
    snprintf(path, sizeof path, "/proc/sys/net/ipv6/conf/%s/%s", device, what);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool done = write(fd, value, strlen(value)) == (ssize_t)strlen(value);
    close(fd);
    return done;
}

/* Before the device is up: no addresses that routers announce, and the one that is fixed is in use at once (nobody is
 * asked whether he has it, as with an address of IPv4). */
static void prepare_ipv6(const char *device)
{
    if (!set_own_ipv6(device, "accept_ra", "0") || !set_own_ipv6(device, "accept_dad", "0"))
        fail("The setting 'net6' fixes an address of IPv6, and the kernel has no IPv6 on the network device '%s': %s.", device,
             strerror(errno));
}

static void set_ipv6(const char *device, const struct settings *settings)
{
    static const unsigned char NONE[SETTINGS_ADDRESS6];
    int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0), index = (int)if_nametoindex(device);
    struct address6_request request = {.prefix = SETTINGS_PREFIX6, .index = index};
    struct in6_rtmsg route = {.rtmsg_metric = 1, .rtmsg_flags = RTF_UP | RTF_GATEWAY, .rtmsg_ifindex = index};

    memcpy(&request.address, settings->address6, sizeof request.address);
    if (fd < 0 || ioctl(fd, SIOCSIFADDR, &request) != 0)
        fail("The IPv6 address of the network device '%s' could not be set: %s.", device, strerror(errno));
    memcpy(&route.rtmsg_gateway, settings->gateway6, sizeof route.rtmsg_gateway);
    if (memcmp(settings->gateway6, NONE, sizeof NONE) != 0 && ioctl(fd, SIOCADDRT, &route) != 0)
        fail("The IPv6 gateway could not be set: %s.", strerror(errno));
    close(fd);
}

/* Asks for an address until a server grants one, and fills in `settings`. */
static void obtain_lease(const struct ifreq *device, struct settings *settings)
{
    int64_t now = now_ms(), end = now + LEASE_DEADLINE_MS;

    lease_begin(&lease, device->ifr_name, (const unsigned char *)device->ifr_hwaddr.sa_data);
    for (; lease_advance(&lease, now) != LEASE_GRANTED; now = now_ms()) {
        if (lease.fd < 0)
            fail("The network device '%s' cannot ask for an address: %s.", device->ifr_name, strerror(errno));
        if (now >= end)
            fail("The setting 'net' is 'dhcp', but no server granted the network device '%s' an address within %d "
                 "seconds.", device->ifr_name, LEASE_DEADLINE_MS / 1000);
        struct pollfd readable = {lease.fd, POLLIN, 0};
        poll(&readable, 1, (int)((lease.due < end ? lease.due : end) - now));
    }
    settings->address = lease.granted.address;
    settings->prefix = lease.granted.prefix;
    settings->gateway = gateway_of(&lease.granted);
    settings->nameserver = lease.granted.nameserver;
}

int network_socket(void)
{
    return lease.fd;
}

int64_t network_due(void)
{
    return lease.due;
}

void network_advance(void)
{
    enum lease_event event = lease_advance(&lease, now_ms());
    if (event == LEASE_UNCHANGED)
        return;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool done;
    if (event == LEASE_LOST) {
        done = set_address(fd, lease.device, 0, 0);
        say("The lease of the address of '%s' is over: it has none until a DHCP server grants one.", lease.device);
    } else {
        struct in_addr address = {htonl(lease.granted.address)};
        done = set_address(fd, lease.device, lease.granted.address, lease.granted.prefix) &&
               set_gateway(fd, gateway_of(&lease.granted));
        say("A DHCP server granted '%s' the address %s.", lease.device, inet_ntoa(address));
    }
    if (!done)
        say("The address of the network device '%s' could not be set: %s.", lease.device, strerror(errno));
    if (fd >= 0)
        close(fd);
}

static void write_file(const char *path, int flags, const char *text)
{
    if (mkdir("/etc", 0755) != 0 && errno != EEXIST)
        fail("The folder '/etc' could not be created: %s.", strerror(errno));
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0644);
    if (fd < 0 && errno == EEXIST)
        return;
    size_t size = strlen(text);
    if (fd < 0 || write(fd, text, size) != (ssize_t)size)
        fail("The file '%s' could not be written: %s.", path, strerror(errno));
    close(fd);
}

/* A root on a disk cannot be written to: there, '/etc/hosts' and '/etc/resolv.conf' are links into '/run', where the
 * image has no such file of its own. */
static void write_names(const struct settings *settings)
{
    const bool on_disk = settings->root_serial[0] != '\0';
    const char *hosts = on_disk ? "/run/hosts" : "/etc/hosts";
    const char *resolver = on_disk ? "/run/resolv.conf" : "/etc/resolv.conf";
    static const unsigned char NONE[SETTINGS_ADDRESS6];
    char text[256], server6[INET6_ADDRSTRLEN];
    struct in_addr server = {htonl(settings->nameserver)};
    snprintf(text, sizeof text, "127.0.0.1 localhost\n::1 localhost\n");
    if (settings->hostname != NULL)
        snprintf(text + strlen(text), sizeof text - strlen(text), "127.0.1.1 %s\n", settings->hostname);
    write_file(hosts, O_EXCL, text);
    text[0] = '\0';
    if (settings->nameserver != 0)
        snprintf(text, sizeof text, "nameserver %s\n", inet_ntoa(server));
    if (memcmp(settings->nameserver6, NONE, sizeof NONE) != 0)
        snprintf(text + strlen(text), sizeof text - strlen(text), "nameserver %s\n",
                 inet_ntop(AF_INET6, settings->nameserver6, server6, sizeof server6));
    if (text[0] != '\0')
        write_file(resolver, O_TRUNC, text);
}

void set_up_network(struct settings *settings)
{
    const bool static6 = settings->net6 == SETTINGS_NET6_STATIC;
    struct ifreq device = {0};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (fd < 0) {
        if (settings->net == SETTINGS_NET_NONE && !static6)
            return; /* a kernel without a network */
        fail("The network cannot be set up: %s.", strerror(errno));
    }
    bring_up(fd, "lo");
    if (settings->net != SETTINGS_NET_NONE || static6) {
        for (int64_t end = now_ms() + DEVICE_DEADLINE_MS; !find_device(fd, &device);) {
            if (now_ms() >= end)
                fail("The setting '%s' asks for a network, but there is no network device.",
                     settings->net != SETTINGS_NET_NONE ? "net" : "net6");
            pause_ms(DEVICE_POLL_MS);
        }
        if (static6)
            prepare_ipv6(device.ifr_name);
        bring_up(fd, device.ifr_name);
        if (static6)
            set_ipv6(device.ifr_name, settings);
        if (settings->net == SETTINGS_NET_DHCP)
            obtain_lease(&device, settings);
        if (settings->net != SETTINGS_NET_NONE && !set_address(fd, device.ifr_name, settings->address, settings->prefix))
            fail("The address of the network device '%s' could not be set: %s.", device.ifr_name, strerror(errno));
        if (!set_gateway(fd, settings->gateway))
            fail("The gateway could not be set: %s.", strerror(errno));
    }
    write_names(settings);
    close(fd);
}
