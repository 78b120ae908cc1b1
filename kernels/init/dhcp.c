#include "dhcp.h"

#include <string.h>

enum {
    BOOTREQUEST = 1,
    BOOTREPLY = 2,
    AT_TRANSACTION = 4,
    AT_FLAGS = 10,
    AT_MY_ADDRESS = 12,
    AT_YOUR_ADDRESS = 16,
    AT_HARDWARE = 28,
    AT_COOKIE = 236,
    AT_OPTIONS = 240,
    MINIMUM_BYTES = 300, /* what old relays expect (RFC 1542, section 2.1) */
    OPTION_PAD = 0,
    OPTION_MASK = 1,
    OPTION_ROUTER = 3,
    OPTION_NAMESERVER = 6,
    OPTION_ADDRESS = 50,
    OPTION_LEASE = 51,
    OPTION_KIND = 53,
    OPTION_SERVER = 54,
    OPTION_WISHES = 55,
    OPTION_RENEWAL = 58,
    OPTION_REBINDING = 59,
    OPTION_END = 255,
    SHORTEST_LEASE = 4, /* seconds; less would keep the network busy with itself */
};

static const unsigned char COOKIE[4] = {99, 130, 83, 99};

static void put(unsigned char *at, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        at[i] = (unsigned char)(value >> (24 - 8 * i));
}

static uint32_t get(const unsigned char *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static unsigned char *put_option(unsigned char *at, unsigned char option, uint32_t value)
{
    at[0] = option;
    at[1] = 4;
    put(at + 2, value);
    return at + 6;
}

/* The fields that all requests have; returns where the options after its kind begin. */
static unsigned char *begin(unsigned char *message, unsigned char kind, uint32_t transaction,
                            const unsigned char hardware[6])
{
    memset(message, 0, DHCP_MESSAGE_BYTES);
    message[0] = BOOTREQUEST;
    message[1] = 1; /* Ethernet */
    message[2] = 6;
    put(message + AT_TRANSACTION, transaction);
    memcpy(message + AT_HARDWARE, hardware, 6);
    memcpy(message + AT_COOKIE, COOKIE, sizeof COOKIE);
    unsigned char *at = message + AT_OPTIONS;
    *at++ = OPTION_KIND;
    *at++ = 1;
    *at++ = kind;
    return at;
}

/* What is wished for, and the end; returns the message's length. */
static size_t finish(const unsigned char *message, unsigned char *at)
{
    static const unsigned char WISHES[] = {OPTION_WISHES, 3, OPTION_MASK, OPTION_ROUTER, OPTION_NAMESERVER};

    memcpy(at, WISHES, sizeof WISHES);
    at += sizeof WISHES;
    *at++ = OPTION_END;
    size_t length = (size_t)(at - message);
    return length < MINIMUM_BYTES ? MINIMUM_BYTES : length;
}

size_t dhcp_build(unsigned char message[DHCP_MESSAGE_BYTES], uint32_t transaction, const unsigned char hardware[6],
                  uint32_t address, uint32_t server)
{
    unsigned char *at = begin(message, address == 0 ? DHCP_DISCOVER : DHCP_REQUEST, transaction, hardware);
    message[AT_FLAGS] = 0x80; /* broadcast the answer: the device has no address yet */
    if (address != 0)
        at = put_option(at, OPTION_ADDRESS, address);
    if (server != 0)
        at = put_option(at, OPTION_SERVER, server);
    return finish(message, at);
}

size_t dhcp_build_renewal(unsigned char message[DHCP_MESSAGE_BYTES], uint32_t transaction,
                          const unsigned char hardware[6], uint32_t address)
{
    unsigned char *at = begin(message, DHCP_REQUEST, transaction, hardware);
    put(message + AT_MY_ADDRESS, address);
    return finish(message, at);
}

struct dhcp_times dhcp_times(const struct dhcp_reply *reply)
{
    if (reply->lease == 0 || reply->lease == DHCP_FOREVER)
        return (struct dhcp_times){DHCP_FOREVER, DHCP_FOREVER, DHCP_FOREVER};
    uint32_t end = reply->lease < SHORTEST_LEASE ? SHORTEST_LEASE : reply->lease;
    struct dhcp_times times = {reply->renewal, reply->rebinding, end};
    if (times.renew == 0 || times.renew >= end)
        times.renew = end / 2;
    if (times.rebind <= times.renew || times.rebind >= end)
        times.rebind = end - end / 8 - 1;
    if (times.rebind <= times.renew)
        times.renew = end / 2;
    return times;
}

/* The length of the prefix that `mask` stands for; 0 where its ones are not all in front, or there is none. */
static unsigned prefix_of(uint32_t mask)
{
    unsigned length = 0;
    while (length < 32 && mask & UINT32_C(0x80000000) >> length)
        length++;
    return length == 32 || mask << length == 0 ? length : 0;
}

static void take_option(struct dhcp_reply *reply, unsigned option, const unsigned char *value, size_t length)
{
    if (option == OPTION_KIND && length == 1)
        reply->kind = value[0];
    if (length < 4)
        return;
    if (option == OPTION_MASK && length == 4)
        reply->prefix = prefix_of(get(value));
    else if (option == OPTION_SERVER && length == 4)
        reply->server = get(value);
    else if (option == OPTION_LEASE && length == 4)
        reply->lease = get(value);
    else if (option == OPTION_RENEWAL && length == 4)
        reply->renewal = get(value);
    else if (option == OPTION_REBINDING && length == 4)
        reply->rebinding = get(value);
    else if (option == OPTION_ROUTER)
        reply->gateway = get(value); /* the first of a list, in order of preference */
    else if (option == OPTION_NAMESERVER)
        reply->nameserver = get(value);
}

/* Whether a host may have the address: not "this network", not loopback, not multicast or above. */
static bool is_host(uint32_t address)
{
    unsigned first = address >> 24;
    return first != 0 && first != 127 && first < 224;
}

bool dhcp_parse(const unsigned char *message, size_t size, uint32_t transaction, const unsigned char hardware[6],
                struct dhcp_reply *reply)
{
    memset(reply, 0, sizeof *reply);
    if (size < AT_OPTIONS || message[0] != BOOTREPLY || message[1] != 1 || message[2] != 6)
        return false;
    if (get(message + AT_TRANSACTION) != transaction || memcmp(message + AT_HARDWARE, hardware, 6) != 0 ||
        memcmp(message + AT_COOKIE, COOKIE, sizeof COOKIE) != 0)
        return false;
    for (size_t at = AT_OPTIONS; at < size && message[at] != OPTION_END;) {
        unsigned option = message[at++];
        if (option == OPTION_PAD)
            continue;
        if (at == size || message[at] > size - at - 1)
            return false; /* cut off */
        take_option(reply, option, message + at + 1, message[at]);
        at += 1 + (size_t)message[at];
    }
    reply->address = get(message + AT_YOUR_ADDRESS);
    if (reply->kind == DHCP_NAK)
        return true;
    return (reply->kind == DHCP_OFFER || reply->kind == DHCP_ACK) && is_host(reply->address);
}
