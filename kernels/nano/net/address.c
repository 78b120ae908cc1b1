/*
 * Socket addresses of the program: struct sockaddr_in and sockaddr_in6.
 */
#include "hal/string.h"
#include "lwip/ip.h"
#include "lwip/netif.h"
#include "nano/user.h"
#include "net/socket.h"

#define SOCKADDR_MAX 128
#define IN_SIZE 16
#define IN6_SIZE 28
#define IN6_SIZE_MIN 24 /* without the scope, as RFC 2133 had it */

static uint16_t get16(const uint8_t *at) {
    return (uint16_t)(at[0] << 8 | at[1]);
}

struct address {
    uint8_t bytes[SOCKADDR_MAX];
    uint32_t length;
    uint16_t family;
};

static int read_address(struct address *from, uintptr_t address, uint64_t length) {
    memset(from, 0, sizeof *from);
    from->length = (uint32_t)length;
    if (from->length > SOCKADDR_MAX)
        return -EINVAL;
    if (copy_from_user(from->bytes, address, from->length) != 0)
        return -EFAULT;
    if (from->length < sizeof from->family)
        return -EINVAL;
    memcpy(&from->family, from->bytes, sizeof from->family);
    return 0;
}

static int decode4(const struct address *from, struct endpoint *endpoint) {
    if (from->length < IN_SIZE)
        return -EINVAL;
    if (from->family != AF_INET)
        return -EAFNOSUPPORT;
    *endpoint = (struct endpoint){.port = get16(from->bytes + 2)};
    IP_SET_TYPE_VAL(endpoint->address, IPADDR_TYPE_V4);
    memcpy(&ip_2_ip4(&endpoint->address)->addr, from->bytes + 4, 4);
    return 0;
}

static int decode6(const struct socket *socket, const struct address *from, struct endpoint *endpoint) {
    const uint8_t *bytes = from->bytes;
    if (from->length < IN6_SIZE_MIN)
        return -EINVAL;
    if (from->family != AF_INET6)
        return -EAFNOSUPPORT;
    *endpoint = (struct endpoint){.port = get16(bytes + 2)};
    ip6_addr_t *six = ip_2_ip6(&endpoint->address);
    IP_SET_TYPE_VAL(endpoint->address, IPADDR_TYPE_V6);
    memcpy(six->addr, bytes + 8, 16);
    if (ip6_addr_isipv4mappedipv6(six)) {
        if (socket->v6_only)
            return -ENETUNREACH;
        ip4_addr_t four = {six->addr[3]};
        ip_addr_copy_from_ip4(endpoint->address, four);
        return 0;
    }
    uint32_t scope;
    memcpy(&scope, bytes + 24, sizeof scope);
    if (ip6_addr_has_scope(six, IP6_UNKNOWN) && scope && scope <= UINT8_MAX)
        ip6_addr_set_zone(six, (u8_t)scope);
    return 0;
}

int endpoint_from_user(const struct socket *socket, uintptr_t address, uint64_t length, struct endpoint *endpoint) {
    struct address from;
    int status = read_address(&from, address, length);
    if (status != 0)
        return status;
    return socket->domain == AF_INET ? decode4(&from, endpoint) : decode6(socket, &from, endpoint);
}

int endpoint_of_peer(const struct socket *socket, uintptr_t address, uint64_t length, struct endpoint *endpoint) {
    struct address from;
    int status = read_address(&from, address, length);
    if (status != 0)
        return status;
    if (socket->domain == AF_INET || (from.family == AF_INET && socket->type == SOCK_DGRAM && !socket->v6_only))
        return decode4(&from, endpoint);
    return decode6(socket, &from, endpoint);
}

size_t endpoint_encode(const struct socket *socket, const struct endpoint *endpoint, uint8_t out[28]) {
    uint16_t family = socket->domain;
    memset(out, 0, IN6_SIZE);
    memcpy(out, &family, sizeof family);
    out[2] = (uint8_t)(endpoint->port >> 8);
    out[3] = (uint8_t)endpoint->port;
    if (socket->domain == AF_INET) {
        if (IP_IS_V4(&endpoint->address))
            memcpy(out + 4, &ip_2_ip4(&endpoint->address)->addr, 4);
        return IN_SIZE;
    }
    if (IP_IS_V6_VAL(endpoint->address)) {
        const ip6_addr_t *six = ip_2_ip6(&endpoint->address);
        uint32_t scope = ip6_addr_zone(six);
        memcpy(out + 8, six->addr, 16);
        memcpy(out + 24, &scope, sizeof scope);
    } else if (IP_IS_V4_VAL(endpoint->address) && !ip_addr_isany(&endpoint->address)) {
        out[18] = out[19] = 0xff;
        memcpy(out + 20, &ip_2_ip4(&endpoint->address)->addr, 4);
    }
    return IN6_SIZE;
}

int endpoint_to_user(const struct socket *socket, const struct endpoint *endpoint, uintptr_t address, uintptr_t length) {
    uint8_t bytes[IN6_SIZE];
    int room, size = (int)endpoint_encode(socket, endpoint, bytes);
    if (copy_from_user(&room, length, sizeof room) != 0)
        return -EFAULT;
    if (room < 0)
        return -EINVAL;
    if (copy_to_user(address, bytes, (size_t)(room < size ? room : size)) != 0 || copy_to_user(length, &size, sizeof size) != 0)
        return -EFAULT;
    return 0;
}

void endpoint_any(const struct socket *socket, ip_addr_t *address) {
    if (socket->domain == AF_INET)
        ip_addr_copy(*address, *IP4_ADDR_ANY);
    else if (socket->v6_only)
        ip_addr_copy(*address, *IP6_ADDR_ANY);
    else
        ip_addr_copy(*address, *IP_ANY_TYPE);
}

bool endpoint_is_local(const struct endpoint *endpoint) {
    const ip_addr_t *address = &endpoint->address;
    struct netif *netif;
    if (ip_addr_isany(address) || ip_addr_isloopback(address))
        return true;
    NETIF_FOREACH(netif) {
        if (IP_IS_V4(address) ? ip4_addr_cmp(ip_2_ip4(address), netif_ip4_addr(netif)) : netif_get_ip6_addr_match(netif, ip_2_ip6(address)) >= 0)
            return true;
    }
    return false;
}
