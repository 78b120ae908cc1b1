/* Writes to an address that is not its own, three calls deep; with an argument it spins there. */
#include <unistd.h>

static volatile int sink;

__attribute__((noinline)) static void innermost(int *where) {
    if (!where)
        for (;;)
            sink++;
    *where = 7;
    sink++;
}

__attribute__((noinline)) static void middle(int *where) {
    innermost(where);
    sink++;
}

__attribute__((noinline)) static void outermost(int *where) {
    middle(where);
    sink++;
}

int main(int count, char **arguments) {
    (void)arguments;
    getppid();
    write(1, "the program begins\n", 19);
    outermost(count > 1 ? NULL : (int *)0x123456789000);
    return 0;
}
