#define _GNU_SOURCE 1
#include "lease.h"

#include "deadline.h"
#include "dhcp.h"
#include "report.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SERVER_PORT = 67, CLIENT_PORT = 68, DEADLINE_MS = 15000, FIRST_WAIT_MS = 250, LONGEST_WAIT_MS = 4000 };

struct client {
    int fd;
    uint32_t transaction;
    const unsigned char *hardware;
};

static int open_socket(const char *name)
{
    static const int ON = 1;
    struct sockaddr_in local = {.sin_family = AF_INET, .sin_port = htons(CLIENT_PORT)};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &ON, sizeof ON) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name, (socklen_t)strlen(name) + 1) != 0 ||
        bind(fd, (struct sockaddr *)&local, sizeof local) != 0)
        fail("The network device '%s' cannot ask for an address: %s.", name, strerror(errno));
    return fd;
}

/* Sends one message; a failure counts as a message that was lost. */
static void send_message(const struct client *client, uint32_t address, uint32_t server)
{
    unsigned char message[DHCP_MESSAGE_BYTES];
    struct sockaddr_in everyone = {
        .sin_family = AF_INET, .sin_port = htons(SERVER_PORT), .sin_addr.s_addr = htonl(INADDR_BROADCAST)};
    size_t size = dhcp_build(message, client->transaction, client->hardware, address, server);
    sendto(client->fd, message, size, 0, (struct sockaddr *)&everyone, sizeof everyone);
}

/* Waits until `deadline` for an answer to this transaction. */
static bool receive(const struct client *client, int64_t deadline, struct dhcp_reply *reply)
{
    unsigned char message[1500];
    for (;;) {
        int64_t left = deadline - now_ms();
        if (left <= 0)
            return false;
        struct pollfd readable = {client->fd, POLLIN, 0};
        if (poll(&readable, 1, (int)left) <= 0)
            continue;
        ssize_t size = recv(client->fd, message, sizeof message, 0);
        if (size > 0 && dhcp_parse(message, (size_t)size, client->transaction, client->hardware, reply))
            return true;
    }
}

void obtain_lease(const char *name, const unsigned char hardware[6], struct settings *settings)
{
    struct client client = {open_socket(name), 0, hardware};
    struct dhcp_reply offer = {0}, reply;
    int64_t end = now_ms() + DEADLINE_MS;
    int64_t wait = FIRST_WAIT_MS;

    while (now_ms() < end) {
        if (getrandom(&client.transaction, sizeof client.transaction, GRND_NONBLOCK) != sizeof client.transaction)
            client.transaction = (uint32_t)now_ms();
        int64_t deadline = now_ms() + wait < end ? now_ms() + wait : end;
        wait = wait * 2 < LONGEST_WAIT_MS ? wait * 2 : LONGEST_WAIT_MS;
        send_message(&client, 0, 0);
        do {
            if (!receive(&client, deadline, &offer))
                break;
        } while (offer.kind != DHCP_OFFER || offer.server == 0);
        if (offer.kind != DHCP_OFFER)
            continue;
        send_message(&client, offer.address, offer.server);
        do {
            if (!receive(&client, deadline, &reply))
                break;
        } while (reply.kind != DHCP_ACK && reply.kind != DHCP_NAK);
        if (reply.kind != DHCP_ACK || reply.address != offer.address || reply.prefix == 0) {
            offer.kind = 0;
            continue;
        }
        uint32_t mask = UINT32_MAX << (32 - reply.prefix);
        settings->address = reply.address;
        settings->prefix = reply.prefix;
        settings->gateway = ((reply.gateway ^ reply.address) & mask) == 0 ? reply.gateway : 0;
        settings->nameserver = reply.nameserver;
        close(client.fd);
        return;
    }
    fail("The setting 'net' is 'dhcp', but no server granted the network device '%s' an address within %d seconds.",
         name, DEADLINE_MS / 1000);
}
