/* One line for each behaviour in which nano differs from Linux on purpose: "NAME: RESULT". docs/nano.md has the reasons. */
#include "../programs/abi.h"
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ipc.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/shm.h>
#include <sys/socket.h>

/* 0 and above is "works", whatever it is: process ids and descriptors differ by nature. */
static void works(const char *name, long result) {
    printf("%s: %s\n", name, result < 0 ? error_name(errno) : "works");
}

static void value(const char *name, long result) {
    printf("%s: %ld\n", name, result);
}

static long mapped(int protection) {
    return mmap(NULL, 4096, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? -1 : 0;
}

int main(void) {
    struct sched_param priority = {.sched_priority = 1};
    int pair[2];
    pid_t child = fork();
    if (child == 0)
        _exit(0);
    works("fork", child);
    if (child > 0)
        waitpid(child, NULL, 0);
    char *const words[] = {(char *)"/none", NULL};
    execve("/none", words, NULL);
    printf("execve of a file that is not there: %s\n", error_name(errno));
    works("mmap with PROT_WRITE and PROT_EXEC", mapped(PROT_READ | PROT_WRITE | PROT_EXEC));
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    works("mprotect to PROT_WRITE and PROT_EXEC", mprotect(page, 4096, PROT_READ | PROT_WRITE | PROT_EXEC));
    int file = open("/tmp/file", O_RDWR | O_CREAT, 0644), again = open("/tmp/file", O_RDWR);
    works("flock LOCK_EX of a file that is locked", flock(file, LOCK_EX) < 0 ? -1 : flock(again, LOCK_EX | LOCK_NB));
    works("fchown of a file to 1000", fchown(file, 1000, 1000));
    value("getpriority after setpriority to 5", setpriority(PRIO_PROCESS, 0, 5) < 0 ? -1 : getpriority(PRIO_PROCESS, 0));
    value("scheduling class after sched_setscheduler to SCHED_FIFO",
          syscall(SYS_sched_setscheduler, 0, SCHED_FIFO, &priority) < 0 ? -1 : syscall(SYS_sched_getscheduler, 0));
    works("socketpair", socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    works("inotify_init", inotify_init());
    works("shmget", shmget(IPC_PRIVATE, 4096, 0600));
    works("memfd_create", syscall(SYS_memfd_create, "x", 0));
    works("mount", mount("none", "/tmp", "tmpfs", 0, NULL));
    works("chroot", chroot("/"));
    works("ptrace", ptrace(PTRACE_TRACEME, 0, NULL, NULL));
    works("access of /sys", access("/sys", F_OK));
    works("setuid to 1000", setuid(1000));
    return 0;
}
