/* Answers one connection to port 80 with a file's size, so that a disk, a network device and randomness were used. */
#include <netinet/in.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

int main(void) {
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(80)};
    struct stat info;
    char text[64], seed[16];
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (getrandom(seed, sizeof seed, 0) != sizeof seed || stat("/srv/large", &info) != 0)
        return 2;
    if (bind(listener, (struct sockaddr *)&here, sizeof here) != 0 || listen(listener, 1) != 0)
        return 3;
    puts("the program listens");
    fflush(stdout);
    int peer = accept(listener, NULL, NULL);
    int length = snprintf(text, sizeof text, "%ld\n", (long)info.st_size);
    if (peer < 0 || write(peer, text, (size_t)length) != length)
        return 4;
    return read(peer, text, 1) == 0 ? 0 : 5; /* the machine ends with us: not before the other side has it all */
}
