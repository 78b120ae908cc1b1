/* Tells its name servers, and over IPv6 by which of its addresses it reaches the address and port of its arguments, and
 * what is said there. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int fail(const char *what)
{
    printf("%s: %s\n", what, strerror(errno));
    return 1;
}

/* Which address packets to a host outside of the network leave from. */
static int tell_source(const char *outside)
{
    struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_port = htons(9)}, from;
    socklen_t size = sizeof from;
    char text[INET6_ADDRSTRLEN];
    int fd = socket(AF_INET6, SOCK_DGRAM, 0);

    inet_pton(AF_INET6, outside, &to.sin6_addr);
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) != 0 || getsockname(fd, (struct sockaddr *)&from, &size) != 0 ||
        send(fd, "x", 1, 0) != 1)
        return fail("outside");
    printf("from: %s\n", inet_ntop(AF_INET6, &from.sin6_addr, text, sizeof text));
    close(fd);
    return 0;
}

int main(int count, char **arguments)
{
    char text[512];
    FILE *file = fopen("/etc/resolv.conf", "r");

    if (count != 3)
        return 2;
    if (file == NULL)
        return fail("/etc/resolv.conf");
    while (fgets(text, sizeof text, file) != NULL)
        printf("resolv.conf: %s", text);
    if (tell_source("2001:db8::1") != 0)
        return 1;
    struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)atoi(arguments[2]))}, from;
    socklen_t size = sizeof from;
    if (inet_pton(AF_INET6, arguments[1], &to.sin6_addr) != 1)
        return 2;
    int fd = socket(AF_INET6, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) != 0 || getsockname(fd, (struct sockaddr *)&from, &size) != 0)
        return fail("connect");
    printf("reached from: %s\n", inet_ntop(AF_INET6, &from.sin6_addr, text, sizeof text));
    ssize_t got = read(fd, text, sizeof text);
    if (got < 0)
        return fail("read");
    printf("heard: %.*s\n", (int)got, text);
    return 0;
}
