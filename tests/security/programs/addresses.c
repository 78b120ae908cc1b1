/* Says where things are: program, heap, mmap, stack, vDSO. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <unistd.h>
int main(void) {
    int local;
    void *mapped = mmap(0, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    printf("%lx %lx %lx %lx %lx\n", (unsigned long)main, (unsigned long)sbrk(0), (unsigned long)mapped, (unsigned long)&local,
           getauxval(AT_SYSINFO_EHDR));
    return 0;
}
