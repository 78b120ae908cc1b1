/* Tells the time first of all; then of standard input whether it is a terminal, in which mode, and whether there is
 * something to read; then says each line again, with its bytes below a space as numbers, until one says "bye"; at "dice"
 * it says a random number and the time. With the argument "awake" it never sleeps for a line. Ends with 1 at the end of
 * the input, with 2 on a signal. */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

static void stop(int number)
{
    (void)number;
    _exit(2);
}

int main(int count, char **arguments)
{
    int awake = count > 1 && strcmp(arguments[1], "awake") == 0;
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    struct termios mode;
    struct winsize size;
    char line[256];

    signal(SIGINT, stop);
    signal(SIGTTIN, stop);
    printf("began: %lld\n", (long long)time(NULL));
    printf("terminal: %d %d\n", isatty(STDIN_FILENO), isatty(STDOUT_FILENO));
    printf("readable: %d\n", poll(&input, 1, awake ? 0 : 200));
    if (tcgetattr(STDIN_FILENO, &mode) == 0 && ioctl(STDIN_FILENO, TIOCGWINSZ, &size) == 0)
        printf("mode: %d %d %d %d, %d by %d\n", (mode.c_lflag & (ICANON | ECHO | ISIG)) == 0, mode.c_iflag == 0,
               (mode.c_oflag & OPOST) == 0, tcsetattr(STDIN_FILENO, TCSAFLUSH, &mode), size.ws_row, size.ws_col);
    puts("ready");
    fflush(stdout);
    for (;;) {
        while (awake && poll(&input, 1, 0) == 0)
            continue;
        if (fgets(line, sizeof line, stdin) == NULL)
            return 1;
        line[strcspn(line, "\n")] = '\0';
        if (strcmp(line, "bye") == 0)
            return 0;
        if (strcmp(line, "dice") == 0) {
            unsigned long long bits = 0;
            if (getrandom(&bits, sizeof bits, 0) != sizeof bits)
                return 3;
            printf("dice: %llx %lld\n", bits, (long long)time(NULL));
            fflush(stdout);
            continue;
        }
        printf("said: ");
        for (const char *at = line; *at != '\0'; at++)
            printf(*at < ' ' ? "<%d>" : "%c", *at);
        putchar('\n');
        fflush(stdout);
    }
}
