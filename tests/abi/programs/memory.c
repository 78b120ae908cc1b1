#include "abi.h"

#include <setjmp.h>

static sigjmp_buf jump;
static volatile int got_signal, got_code;

static void handler(int signal, siginfo_t *info, void *context) {
    (void)context;
    got_signal = signal;
    got_code = info->si_code;
    siglongjmp(jump, 1);
}

/* Reads or writes a byte; prints the signal that it raised. */
static const char *volatile what;
__attribute__((noipa)) static void touch(const char *name, volatile char *address, int write) {
    what = name;
    got_signal = 0;
    if (sigsetjmp(jump, 1) == 0) {
        if (write)
            *address = 1;
        else
            (void)*address;
        printf("%s: fine\n", what);
    } else {
        printf("%s: signal %d code %d\n", what, got_signal, got_code);
    }
}
#define T_READ(a) touch("read " #a, (volatile char *)(a), 0)
#define T_WRITE(a) touch("write " #a, (volatile char *)(a), 1)

int main(void) {
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGBUS, &action, NULL);
    char *m;

    SECTION("anonymous");
    P(m = mmap(NULL, 16384, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    C(((uintptr_t)m & 4095) == 0);
    C(m[0] == 0 && m[16383] == 0);
    T_WRITE(m);
    T_WRITE(m + 16383);
    R(mprotect(m, 4096, PROT_READ));
    T_READ(m);
    T_WRITE(m);
    T_WRITE(m + 4096);
    R(mprotect(m, 4096, PROT_NONE));
    T_READ(m);
    R(mprotect(m, 4096, PROT_READ | PROT_WRITE));
    C(m[0] == 1);
    R(mprotect(m + 1, 4096, PROT_READ));
    R(mprotect(m, 0, PROT_READ));
    R(munmap(m + 4096, 4096));
    T_READ(m + 4096);
    R(mprotect(m, 16384, PROT_READ));
    R(munmap(m + 4096, 4096));
    R(munmap(m, 16384));
    R(munmap(m, 0));
    R(munmap(m + 1, 4096));
    T_READ(m);
    T_READ(NULL);
    T_WRITE(NULL);
    T_READ(8);

    SECTION("arguments of mmap");
    P(mmap(NULL, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    P(mmap(NULL, 4096, PROT_READ, MAP_ANONYMOUS, -1, 0));
    P(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, -1, 0));
    P(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 1));
    P(mmap(NULL, SIZE_MAX - 4095, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    P(mmap((void *)1, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
    P(m = mmap(NULL, 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    T_WRITE(m + 4095);
    C(mmap(m, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == m);
    C(m[4095] == 0);
    P(mmap(m, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0));
    R(munmap(m, 4096));
    C(mmap(m, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == m);
    R(munmap(m, 4096));

    SECTION("mremap");
    m = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    m[0] = 'a';
    m[4096] = 'b';
    char *n;
    P(n = mremap(m, 8192, 65536, MREMAP_MAYMOVE));
    C(n[0] == 'a' && n[4096] == 'b' && n[8192] == 0 && n[65535] == 0);
    C(mremap(n, 65536, 4096, 0) == n);
    T_READ(n);
    T_READ(n + 4096);
    P(mremap(n, 4096, 0, 0));
    P(mremap(n + 1, 4096, 8192, MREMAP_MAYMOVE));
    P(mremap(n, 4096, 8192, 99));
    R(munmap(n, 4096));
    P(mremap(n, 4096, 8192, MREMAP_MAYMOVE));

    SECTION("madvise");
    m = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    m[0] = m[4096] = 7;
    R(madvise(m, 4096, MADV_DONTNEED));
    C(m[0] == 0 && m[4096] == 7);
    R(madvise(m, 8192, MADV_WILLNEED));
    R(madvise(m + 1, 4096, MADV_DONTNEED));
    R(madvise(m, 4096, 9999));
    R(madvise(m, 0, MADV_DONTNEED));
    R(munmap(m, 8192));
    R(madvise(m, 4096, MADV_DONTNEED));
    R(madvise(m, 4096, MADV_WILLNEED));
    unsigned char v[4];
    m = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    m[0] = 1;
    R(mincore(m, 8192, v));
    R(v[0] & 1);
    R(v[1] & 1);
    R(mincore(m + 1, 4096, v));
    R(mlock(m, 4096));
    R(munlock(m, 4096));
    R(munmap(m, 8192));
    R(mlock(m, 4096));
    R(mincore(m, 4096, v));

    SECTION("files");
    int fd = open("/tmp/abi-map", O_CREAT | O_TRUNC | O_RDWR, 0600);
    write(fd, "file contents", 13);
    P(m = mmap(NULL, 8192, PROT_READ, MAP_PRIVATE, fd, 0));
    C(memcmp(m, "file contents", 13) == 0 && m[13] == 0 && m[4095] == 0);
    T_READ(m + 4096);
    T_WRITE(m);
    R(munmap(m, 8192));
    P(m = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0));
    m[0] = 'F';
    char b[16] = {0};
    R(pread(fd, b, 4, 0));
    printf("%.4s %.4s\n", b, m);
    R(munmap(m, 4096));
    P(m = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
    m[0] = 'S';
    R(pread(fd, b, 4, 0));
    printf("%.4s\n", b);
    R(pwrite(fd, "W", 1, 1));
    C(m[1] == 'W');
    R(msync(m, 4096, MS_SYNC));
    R(msync(m, 4096, MS_SYNC | MS_ASYNC));
    R(msync(m + 1, 4096, MS_SYNC));
    R(close(fd));
    C(m[0] == 'S');
    R(munmap(m, 4096));
    R(msync(m, 4096, MS_SYNC));
    fd = open("/tmp/abi-map", O_RDONLY);
    P(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
    P(m = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0));
    R(munmap(m, 4096));
    P(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 4095));
    P(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, -4096));
    R(close(fd));
    fd = open("/tmp/abi-map", O_WRONLY);
    P(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0));
    R(close(fd));
    int p[2];
    pipe(p);
    P(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, p[0], 0));
    fd = open("/tmp/abi-map", O_RDWR);
    P(m = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
    T_READ(m);
    R(ftruncate(fd, 0));
    T_READ(m);
    R(ftruncate(fd, 4096));
    T_READ(m);
    C(m[0] == 0);
    R(munmap(m, 4096));
    R(close(fd));
    R(unlink("/tmp/abi-map"));

    SECTION("much reserved, little used");
    size_t much = (size_t)1 << 45;
    m = mmap(NULL, much, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    C(m != MAP_FAILED);
    for (size_t i = 0; i < 32; i++)
        m[much / 32 * i + i * 4096] = (char)(i + 1);
    R(mprotect(m, much, PROT_READ));
    T_WRITE(m + much / 32 * 7 + 7 * 4096);
    T_READ(m + much - 4096);
    R(munmap(m + much / 2, much / 2));
    C(mmap(m + much / 2, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == m + much / 2);
    char *moved = mremap(m, much / 2, much / 2 + 4096, MREMAP_MAYMOVE);
    C(moved != MAP_FAILED && moved != m);
    for (size_t i = 0; i < 16; i++)
        if (moved[much / 32 * i + i * 4096] != (char)(i + 1))
            printf("page %zu did not move along\n", i);
    R(munmap(moved, much / 2 + 4096));
    P(mremap(m + much / 2, 4096, 4096, MREMAP_MAYMOVE | MREMAP_FIXED, m + much / 2));
    R(munmap(m + much / 2, 4096));

    SECTION("brk");
    char *end = (char *)syscall(SYS_brk, 0);
    C(((uintptr_t)end & 4095) == 0 || end != NULL);
    C((char *)syscall(SYS_brk, end + 8192) == end + 8192);
    end[0] = 1;
    end[8191] = 1;
    C((char *)syscall(SYS_brk, end) == end);
    C((char *)syscall(SYS_brk, 1) == end);
    C((char *)syscall(SYS_brk, end + 4096) == end + 4096);
    C(end[4000] == 0);

    SECTION("faults are told with their kind");
    m = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    T_WRITE(m);
    T_READ(BAD);
    T_READ(0xffff800000000000);
    return 0;
}
