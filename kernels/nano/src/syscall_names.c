/*
 * Linux's names of the x86-64 system calls (arch/x86/entry/syscalls/syscall_64.tbl), and the optional part that each is
 * of, for messages. A kernel knows both also of the calls that are not linked.
 */
#include "hal/string.h"
#include "nano/syscall.h"

#define SECOND_FIRST 424

/* In front of a name: its part, by the place in `parts`. */
#define POLL "\1"
#define EPOLL "\2"
#define EVENTFD "\3"
#define TIMERFD "\4"
#define PIPES "\5"
#define THREADS "\6"
#define SIGNALS "\7"
#define CHANGES "\10"
#define NET "\11"
static const char parts[][13] = {"", "poll", "epoll", "eventfd", "timerfd", "pipes", "threads", "signals", "file-changes", "net"};

/* Numbers 0 to 334, and from 424 on; the numbers between were never given out. */
static const char first[] =
    "read\0write\0open\0close\0stat\0fstat\0lstat\0" POLL "poll\0lseek\0mmap\0mprotect\0munmap\0brk\0"
    SIGNALS "rt_sigaction\0rt_sigprocmask\0" SIGNALS "rt_sigreturn\0ioctl\0pread64\0pwrite64\0readv\0writev\0"
    "access\0" PIPES "pipe\0" POLL "select\0sched_yield\0mremap\0msync\0mincore\0madvise\0shmget\0shmat\0shmctl\0"
    "dup\0dup2\0" SIGNALS "pause\0nanosleep\0getitimer\0alarm\0setitimer\0getpid\0sendfile\0" NET "socket\0"
    NET "connect\0" NET "accept\0" NET "sendto\0" NET "recvfrom\0" NET "sendmsg\0" NET "recvmsg\0" NET "shutdown\0"
    NET "bind\0" NET "listen\0" NET "getsockname\0" NET "getpeername\0" NET "socketpair\0" NET "setsockopt\0"
    NET "getsockopt\0" THREADS "clone\0fork\0vfork\0execve\0exit\0wait4\0kill\0uname\0semget\0semop\0semctl\0"
    "shmdt\0msgget\0msgsnd\0msgrcv\0msgctl\0fcntl\0flock\0fsync\0fdatasync\0" CHANGES "truncate\0"
    CHANGES "ftruncate\0getdents\0getcwd\0chdir\0fchdir\0" CHANGES "rename\0" CHANGES "mkdir\0" CHANGES "rmdir\0"
    "creat\0link\0" CHANGES "unlink\0" CHANGES "symlink\0readlink\0" CHANGES "chmod\0" CHANGES "fchmod\0"
    CHANGES "chown\0" CHANGES "fchown\0" CHANGES "lchown\0umask\0gettimeofday\0getrlimit\0getrusage\0sysinfo\0"
    "times\0ptrace\0getuid\0syslog\0getgid\0setuid\0setgid\0geteuid\0getegid\0setpgid\0getppid\0getpgrp\0setsid\0"
    "setreuid\0setregid\0getgroups\0setgroups\0setresuid\0getresuid\0setresgid\0getresgid\0getpgid\0setfsuid\0"
    "setfsgid\0getsid\0capget\0capset\0" SIGNALS "rt_sigpending\0" SIGNALS "rt_sigtimedwait\0rt_sigqueueinfo\0"
    SIGNALS "rt_sigsuspend\0" SIGNALS "sigaltstack\0utime\0mknod\0uselib\0personality\0ustat\0statfs\0fstatfs\0"
    "sysfs\0getpriority\0setpriority\0sched_setparam\0sched_getparam\0sched_setscheduler\0sched_getscheduler\0"
    "sched_get_priority_max\0sched_get_priority_min\0sched_rr_get_interval\0mlock\0munlock\0mlockall\0munlockall\0"
    "vhangup\0modify_ldt\0pivot_root\0_sysctl\0prctl\0arch_prctl\0adjtimex\0setrlimit\0chroot\0sync\0acct\0"
    "settimeofday\0mount\0umount2\0swapon\0swapoff\0reboot\0sethostname\0setdomainname\0iopl\0ioperm\0"
    "create_module\0init_module\0delete_module\0get_kernel_syms\0query_module\0quotactl\0nfsservctl\0getpmsg\0"
    "putpmsg\0afs_syscall\0tuxcall\0security\0gettid\0readahead\0setxattr\0lsetxattr\0fsetxattr\0getxattr\0"
    "lgetxattr\0fgetxattr\0listxattr\0llistxattr\0flistxattr\0removexattr\0lremovexattr\0fremovexattr\0tkill\0"
    "time\0" THREADS "futex\0sched_setaffinity\0sched_getaffinity\0set_thread_area\0io_setup\0io_destroy\0"
    "io_getevents\0io_submit\0io_cancel\0get_thread_area\0lookup_dcookie\0" EPOLL "epoll_create\0epoll_ctl_old\0"
    "epoll_wait_old\0remap_file_pages\0getdents64\0set_tid_address\0restart_syscall\0semtimedop\0fadvise64\0"
    "timer_create\0timer_settime\0timer_gettime\0timer_getoverrun\0timer_delete\0clock_settime\0clock_gettime\0"
    "clock_getres\0clock_nanosleep\0exit_group\0" EPOLL "epoll_wait\0" EPOLL "epoll_ctl\0tgkill\0utimes\0vserver\0"
    "mbind\0set_mempolicy\0get_mempolicy\0mq_open\0mq_unlink\0mq_timedsend\0mq_timedreceive\0mq_notify\0"
    "mq_getsetattr\0kexec_load\0waitid\0add_key\0request_key\0keyctl\0ioprio_set\0ioprio_get\0inotify_init\0"
    "inotify_add_watch\0inotify_rm_watch\0migrate_pages\0openat\0" CHANGES "mkdirat\0mknodat\0" CHANGES "fchownat\0"
    "futimesat\0newfstatat\0" CHANGES "unlinkat\0" CHANGES "renameat\0linkat\0" CHANGES "symlinkat\0readlinkat\0"
    CHANGES "fchmodat\0faccessat\0" POLL "pselect6\0" POLL "ppoll\0unshare\0set_robust_list\0get_robust_list\0"
    "splice\0tee\0sync_file_range\0vmsplice\0move_pages\0" CHANGES "utimensat\0" EPOLL "epoll_pwait\0signalfd\0"
    TIMERFD "timerfd_create\0" EVENTFD "eventfd\0" CHANGES "fallocate\0" TIMERFD "timerfd_settime\0"
    TIMERFD "timerfd_gettime\0" NET "accept4\0signalfd4\0" EVENTFD "eventfd2\0" EPOLL "epoll_create1\0dup3\0"
    PIPES "pipe2\0inotify_init1\0preadv\0pwritev\0rt_tgsigqueueinfo\0perf_event_open\0" NET "recvmmsg\0"
    "fanotify_init\0fanotify_mark\0prlimit64\0name_to_handle_at\0open_by_handle_at\0clock_adjtime\0syncfs\0"
    NET "sendmmsg\0setns\0getcpu\0process_vm_readv\0process_vm_writev\0kcmp\0finit_module\0sched_setattr\0"
    "sched_getattr\0" CHANGES "renameat2\0seccomp\0getrandom\0memfd_create\0kexec_file_load\0bpf\0execveat\0"
    "userfaultfd\0membarrier\0mlock2\0copy_file_range\0preadv2\0pwritev2\0pkey_mprotect\0pkey_alloc\0pkey_free\0"
    "statx\0io_pgetevents\0rseq\0";
static const char second[] =
    "pidfd_send_signal\0io_uring_setup\0io_uring_enter\0io_uring_register\0open_tree\0move_mount\0fsopen\0"
    "fsconfig\0fsmount\0fspick\0pidfd_open\0" THREADS "clone3\0close_range\0openat2\0pidfd_getfd\0faccessat2\0"
    "process_madvise\0" EPOLL "epoll_pwait2\0mount_setattr\0quotactl_fd\0landlock_create_ruleset\0"
    "landlock_add_rule\0landlock_restrict_self\0memfd_secret\0process_mrelease\0futex_waitv\0"
    "set_mempolicy_home_node\0";

static const char *nth(const char *names, size_t size, uint64_t index) {
    const char *at = names;
    for (; index > 0 && at < names + size - 1; index--)
        at += strlen(at) + 1;
    return at < names + size - 1 && *at ? at : NULL;
}

static const char *entry(uint64_t number) {
    return number < SECOND_FIRST ? nth(first, sizeof first, number) : nth(second, sizeof second, number - SECOND_FIRST);
}

static bool has_part(const char *name) {
    return (size_t)*name < sizeof parts / sizeof *parts;
}

const char *syscall_name(uint64_t number) {
    const char *name = entry(number);
    return name && has_part(name) ? name + 1 : name;
}

const char *syscall_part(uint64_t number) {
    const char *name = entry(number);
    return name && has_part(name) ? parts[(size_t)*name] : NULL;
}
