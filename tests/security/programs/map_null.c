/* Asks for the null page, which must be refused: 0 if it was. */
#include <errno.h>
#include <sys/mman.h>
int main(void) {
    for (unsigned long at = 0; at < 0x10000; at += 4096)
        if (mmap((void *)at, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED || errno != EPERM)
            return 1;
    return 0;
}
