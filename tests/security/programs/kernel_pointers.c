/* Gives system calls pointers to the kernel: 0 if each was refused. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>
int main(void) {
    static const unsigned long bad[] = {0xffffffff80100000, 0xffff800000100000, 0x7ffffffff000, 0x800000000000, ~0ul, ~0ul - 4095};
    int zero = open("/dev/zero", O_RDONLY), pipes[2];
    if (pipe(pipes) != 0)
        return 1;
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct iovec vector = {(void *)bad[i], 64};
        if (syscall(SYS_read, zero, bad[i], 64) != -1 || errno != EFAULT)
            return 2;
        if (syscall(SYS_write, pipes[1], bad[i], 64) != -1 || errno != EFAULT)
            return 3;
        if (syscall(SYS_readv, zero, &vector, 1) != -1 || errno != EFAULT)
            return 4;
        if (syscall(SYS_open, bad[i], 0) != -1 || errno != EFAULT)
            return 5;
        if (syscall(SYS_fstat, zero, bad[i]) != -1 || errno != EFAULT)
            return 6;
        if (syscall(SYS_clock_gettime, 0, bad[i]) != -1 || errno != EFAULT)
            return 7;
        if (syscall(SYS_rt_sigaction, 10, bad[i], 0, 8) != -1 || errno != EFAULT)
            return 8;
    }
    return 0;
}
