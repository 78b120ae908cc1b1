/* Tells each who connects: 16 random bytes of the kernel, a number that was drawn when the program began, the time in
 * seconds since 1970, how many have asked before. */
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static void answer(int client, unsigned long drawn, unsigned asked)
{
    unsigned char bytes[16];
    char request[1024], text[256];
    struct timespec now;
    size_t length;

    if (read(client, request, sizeof request) <= 0)
        return;
    if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes)
        return;
    clock_gettime(CLOCK_REALTIME, &now);
    length = (size_t)snprintf(text, sizeof text, "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n");
    for (size_t i = 0; i < sizeof bytes; i++)
        length += (size_t)snprintf(text + length, sizeof text - length, "%02x", bytes[i]);
    length += (size_t)snprintf(text + length, sizeof text - length, " %lx %lld.%03ld %u\n", drawn, (long long)now.tv_sec,
                               now.tv_nsec / 1000000, asked);
    if (write(client, text, length) != (ssize_t)length)
        puts("An answer could not be sent.");
}

int main(void)
{
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(80)};
    unsigned long drawn = 0;
    int server = socket(AF_INET, SOCK_STREAM, 0);

    if (getrandom(&drawn, sizeof drawn, 0) != sizeof drawn ||
        bind(server, (struct sockaddr *)&here, sizeof here) != 0 || listen(server, 16) != 0)
        return 1;
    for (unsigned asked = 0;; asked++) {
        int client = accept(server, NULL, NULL);
        if (client < 0)
            return 1;
        answer(client, drawn, asked);
        close(client);
    }
}
