#define _GNU_SOURCE 1
#include "lease.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

/* Milliseconds. Section 4.1 has answers waited for up to 64 s; section 4.4.5 a renewal sent again after 60 s at least. */
enum { SERVER_PORT = 67, CLIENT_PORT = 68, FIRST_WAIT = 250, LONGEST_WAIT = 64000, RENEWAL_WAIT = 60000 };

static int open_socket(const char *device)
{
    static const int ON = 1;
    struct sockaddr_in local = {.sin_family = AF_INET, .sin_port = htons(CLIENT_PORT)};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || (setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &ON, sizeof ON) == 0 &&
                   setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device, (socklen_t)strlen(device) + 1) == 0 &&
                   bind(fd, (struct sockaddr *)&local, sizeof local) == 0))
        return fd;
    int why = errno;
    close(fd);
    errno = why;
    return -1;
}

/* Before a first message of its kind: a socket where there is none (the program may hold the port), a new number. */
static void begin_transaction(struct lease *lease, int64_t now)
{
    if (lease->fd < 0)
        lease->fd = open_socket(lease->device);
    if (getrandom(&lease->transaction, sizeof lease->transaction, GRND_NONBLOCK) != sizeof lease->transaction)
        lease->transaction = (uint32_t)now;
}

/* Sends a message to a server; a failure counts as a message that was lost. */
static void send_to(const struct lease *lease, uint32_t server, const unsigned char *message, size_t size)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(SERVER_PORT), .sin_addr.s_addr = htonl(server)};
    if (lease->fd >= 0)
        sendto(lease->fd, message, size, 0, (struct sockaddr *)&address, sizeof address);
}

static void discover(struct lease *lease, int64_t now)
{
    unsigned char message[DHCP_MESSAGE_BYTES];
    begin_transaction(lease, now);
    lease->state = LEASE_SELECTING;
    lease->due = now + lease->wait;
    lease->wait = lease->wait * 2 < LONGEST_WAIT ? lease->wait * 2 : LONGEST_WAIT;
    size_t size = dhcp_build(message, lease->transaction, lease->hardware, 0, 0);
    send_to(lease, INADDR_BROADCAST, message, size);
}

static void request(struct lease *lease, const struct dhcp_reply *offer, int64_t now)
{
    unsigned char message[DHCP_MESSAGE_BYTES];
    lease->state = LEASE_REQUESTING;
    lease->offered = offer->address;
    lease->asked_at = now;
    lease->due = now + lease->wait;
    size_t size = dhcp_build(message, lease->transaction, lease->hardware, offer->address, offer->server);
    send_to(lease, INADDR_BROADCAST, message, size);
}

/* Asks for more time: its own server until T2, then all. */
static void renew(struct lease *lease, int64_t now)
{
    unsigned char message[DHCP_MESSAGE_BYTES];
    bool all = now >= lease->rebind_at;
    int64_t limit = all ? lease->end_at : lease->rebind_at;
    int64_t half = (limit - now) / 2;
    begin_transaction(lease, now);
    lease->state = all ? LEASE_REBINDING : LEASE_RENEWING;
    lease->asked_at = now;
    lease->due = half < RENEWAL_WAIT ? limit : now + half;
    size_t size = dhcp_build_renewal(message, lease->transaction, lease->hardware, lease->granted.address);
    send_to(lease, all ? INADDR_BROADCAST : lease->granted.server, message, size);
}

static int64_t after(int64_t start, uint32_t seconds)
{
    return seconds == DHCP_FOREVER ? INT64_MAX : start + (int64_t)seconds * 1000;
}

static void bind_to(struct lease *lease, const struct dhcp_reply *reply)
{
    struct dhcp_times times = dhcp_times(reply);
    uint32_t server = lease->granted.server;
    lease->granted = *reply;
    if (reply->server == 0)
        lease->granted.server = server;
    lease->renew_at = lease->due = after(lease->asked_at, times.renew);
    lease->rebind_at = after(lease->asked_at, times.rebind);
    lease->end_at = after(lease->asked_at, times.end);
    lease->state = LEASE_BOUND;
    lease->wait = FIRST_WAIT;
    close(lease->fd);
    lease->fd = -1;
}

static enum lease_event lose(struct lease *lease, int64_t now)
{
    lease->state = LEASE_SELECTING;
    lease->due = now;
    lease->wait = FIRST_WAIT;
    return LEASE_LOST;
}

static enum lease_event take(struct lease *lease, const struct dhcp_reply *reply, int64_t now)
{
    switch (lease->state) {
    case LEASE_SELECTING:
        if (reply->kind == DHCP_OFFER && reply->server != 0)
            request(lease, reply, now);
        break;
    case LEASE_REQUESTING:
        if (reply->kind == DHCP_ACK && reply->address == lease->offered && reply->prefix != 0) {
            bind_to(lease, reply);
            return LEASE_GRANTED;
        }
        break; /* refused: asked anew when its time is over */
    case LEASE_RENEWING:
    case LEASE_REBINDING:
        if (reply->kind == DHCP_NAK)
            return lose(lease, now);
        if (reply->kind == DHCP_ACK && reply->address == lease->granted.address)
            bind_to(lease, reply);
        break;
    case LEASE_BOUND:
        break;
    }
    return LEASE_UNCHANGED;
}

void lease_begin(struct lease *lease, const char *device, const unsigned char hardware[6])
{
    memset(lease, 0, sizeof *lease);
    memcpy(lease->device, device, strnlen(device, IFNAMSIZ - 1));
    memcpy(lease->hardware, hardware, sizeof lease->hardware);
    lease->fd = -1;
    lease->wait = FIRST_WAIT;
}

enum lease_event lease_advance(struct lease *lease, int64_t now)
{
    unsigned char message[1500];
    struct dhcp_reply reply;

    while (lease->fd >= 0) {
        ssize_t size = recv(lease->fd, message, sizeof message, 0);
        if (size < 0)
            break;
        if (!dhcp_parse(message, (size_t)size, lease->transaction, lease->hardware, &reply))
            continue;
        enum lease_event event = take(lease, &reply, now);
        if (event != LEASE_UNCHANGED)
            return event;
    }
    if (now < lease->due)
        return LEASE_UNCHANGED;
    if (lease->state == LEASE_SELECTING || lease->state == LEASE_REQUESTING)
        discover(lease, now);
    else if (now >= lease->end_at)
        return lose(lease, now);
    else
        renew(lease, now);
    return LEASE_UNCHANGED;
}
