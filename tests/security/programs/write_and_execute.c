/* Asks for memory that is writable and executable at once, in three ways: 0 if all were refused. */
#include <errno.h>
#include <sys/mman.h>
int main(void) {
    int all = PROT_READ | PROT_WRITE | PROT_EXEC;
    if (mmap(0, 4096, all, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED || errno != EACCES)
        return 1;
    void *page = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mprotect(page, 4096, all) != -1 || errno != EACCES)
        return 2;
    if (mprotect((void *)((unsigned long)main & ~4095ul), 4096, all) != -1 || errno != EACCES)
        return 3;
    return 0;
}
