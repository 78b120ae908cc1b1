/* Writes over the end of an array on its stack. */
#include <string.h>
static __attribute__((noipa)) void smash(char *at, unsigned long size) {
    memset(at, 'x', size);
}
__attribute__((noipa)) static void victim(unsigned long size) {
    char room[16];
    smash(room, size);
}
int main(int argc, char **argv) {
    (void)argv;
    victim(16 + 24 * (unsigned long)argc);
    return 0;
}
