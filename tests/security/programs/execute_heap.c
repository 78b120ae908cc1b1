/* Calls bytes on its heap. */
#include <stdlib.h>
int main(void) {
    unsigned char *code = malloc(16);
    code[0] = 0xc3;
    ((void (*)(void))(unsigned long)code)();
    return 0;
}
