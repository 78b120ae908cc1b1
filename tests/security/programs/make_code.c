/* Makes code in memory that is writable and executable, runs it, changes it, runs it again: 0 if each run was the last code. */
#include <string.h>
#include <sys/mman.h>
int main(void) {
    /* mov $N, %eax; ret */
    unsigned char code[] = {0xb8, 0, 0, 0, 0, 0xc3};
    unsigned char *page = mmap(0, 8192, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED)
        return 1;
    for (int i = 1; i < 100; i++) {
        code[1] = (unsigned char)i;
        memcpy(page + 64 * (i % 128), code, sizeof code);
        if (((int (*)(void))(unsigned long)(page + 64 * (i % 128)))() != i)
            return 2;
    }
    return 0;
}
