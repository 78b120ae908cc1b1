/*
 * Each R() is one behaviour: it prints the call, its result and its error. The output must be the same on Linux and nano.
 */
#ifndef ABI_H
#define ABI_H

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Whole lines, so that messages of the kernel on the same console stand between them. */
__attribute__((constructor)) static void whole_lines(void) {
    setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
}

static inline const char *error_name(int error) {
    static const struct {
        int number;
        const char *name;
    } names[] = {{EPERM, "EPERM"}, {ENOENT, "ENOENT"}, {ESRCH, "ESRCH"}, {EINTR, "EINTR"}, {EIO, "EIO"}, {ENXIO, "ENXIO"}, {EBADF, "EBADF"},
                 {ECHILD, "ECHILD"}, {EAGAIN, "EAGAIN"}, {ENOMEM, "ENOMEM"}, {EACCES, "EACCES"}, {EFAULT, "EFAULT"}, {EBUSY, "EBUSY"},
                 {EEXIST, "EEXIST"}, {EXDEV, "EXDEV"}, {ENODEV, "ENODEV"}, {ENOTDIR, "ENOTDIR"}, {EISDIR, "EISDIR"}, {EINVAL, "EINVAL"},
                 {EMFILE, "EMFILE"}, {ENOTTY, "ENOTTY"}, {EFBIG, "EFBIG"}, {ENOSPC, "ENOSPC"}, {ESPIPE, "ESPIPE"}, {EROFS, "EROFS"},
                 {EPIPE, "EPIPE"}, {ERANGE, "ERANGE"}, {EDEADLK, "EDEADLK"}, {ENAMETOOLONG, "ENAMETOOLONG"}, {ENOSYS, "ENOSYS"},
                 {ENOTEMPTY, "ENOTEMPTY"}, {ELOOP, "ELOOP"}, {EOVERFLOW, "EOVERFLOW"}, {EOPNOTSUPP, "EOPNOTSUPP"}, {ETIMEDOUT, "ETIMEDOUT"},
                 {E2BIG, "E2BIG"}, {ENOTSOCK, "ENOTSOCK"}};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (names[i].number == error)
            return names[i].name;
    static char other[16];
    snprintf(other, sizeof other, "E%d", error);
    return other;
}

static inline long report(const char *what, long result) {
    int error = errno;
    if (result == -1)
        printf("%s = -1 %s\n", what, error_name(error));
    else
        printf("%s = %ld\n", what, result);
    return result;
}

/* The call, as it is written, with its result. */
#define R(call) (errno = 0, report(#call, (long)(call)))
/* Only whether it worked, for results that differ by nature (addresses). */
#define P(call) (errno = 0, report(#call, (call) == (void *)-1 ? -1 : 0))
/* A condition. */
#define C(condition) printf("%s: %s\n", #condition, (condition) ? "yes" : "no")
#define SECTION(name) printf("== %s\n", name)

/* What not every C library's headers have. */
#define FUTEX_WAIT 0
#define FUTEX_WAKE 1
#define FUTEX_CMP_REQUEUE 4
#define FUTEX_WAKE_OP 5
#define FUTEX_WAIT_BITSET 9
#define FUTEX_WAKE_BITSET 10
#define FUTEX_OP_ADD_CMP_EQ(operand, comparand) (1u << 28 | (operand) << 12 | (comparand))

#define BAD ((void *)0x7fff00000000) /* an address where nothing is mapped */
#define NO_PROCESS (1 << 30) /* above the last process id that Linux ever gives, 2^22 (PID_MAX_LIMIT) */

#endif
