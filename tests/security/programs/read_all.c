/* Reads a file from its begin to its end: from a disk that stops to answer, this ends with an error. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(void) {
    static char buffer[65536];
    int file = open("/srv/large", O_RDONLY);
    puts("the program reads");
    fflush(stdout);
    for (ssize_t got; (got = read(file, buffer, sizeof buffer)) != 0;)
        if (got < 0) {
            printf("read: %s\n", strerror(errno));
            return 5;
        }
    return 0;
}
