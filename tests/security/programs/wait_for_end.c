/* Says that it runs; ends with status 0 when it is asked to, unless its argument says that it does not hear. */
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

static volatile sig_atomic_t asked;

static void hear(int signal) {
    asked = signal;
}

int main(int count, char **arguments) {
    (void)arguments;
    signal(SIGTERM, count > 1 ? SIG_IGN : hear);
    puts("the program runs");
    fflush(stdout);
    while (!asked)
        pause();
    puts("the program was asked to end");
    return 0;
}
