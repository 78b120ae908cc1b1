/* Does what its arguments say, in order: PORT listens on it, `knock` waits until somebody sends a byte to the port before,
 * `end` ends with status 0. Then it waits for ever. */
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int listen_on(int port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof at) != 0 || listen(fd, 4) != 0) {
        perror("listen");
        exit(1);
    }
    printf("listening on %d\n", port);
    fflush(stdout);
    return fd;
}

static void wait_for_knock(int fd)
{
    char byte;
    int visitor = accept(fd, NULL, NULL);

    if (visitor < 0 || read(visitor, &byte, 1) != 1) {
        perror("knock");
        exit(1);
    }
}

int main(int count, char **arguments)
{
    int fd = -1;

    for (int i = 1; i < count; i++) {
        if (strcmp(arguments[i], "end") == 0)
            return 0;
        if (strcmp(arguments[i], "knock") == 0)
            wait_for_knock(fd);
        else
            fd = listen_on(atoi(arguments[i]));
    }
    for (;;)
        pause();
}
