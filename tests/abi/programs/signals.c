#include "abi.h"

static volatile sig_atomic_t count, last, code_of, depth, max_depth;
static void simple(int signal) {
    count++;
    last = signal;
}
static void detailed(int signal, siginfo_t *info, void *context) {
    (void)context;
    count++;
    last = signal;
    code_of = info->si_code;
}
static void nested(int signal) {
    depth++;
    if (depth > max_depth)
        max_depth = depth;
    if (count++ < 3)
        raise(signal);
    depth--;
}
static volatile double volatile_double;
static void uses_fpu(int signal) {
    (void)signal;
    volatile_double = 1.0;
    for (int i = 0; i < 10; i++)
        volatile_double = volatile_double * 1.5 + 0.25;
}
static void *kicker(void *main_thread) {
    usleep(20000);
    pthread_kill(*(pthread_t *)main_thread, SIGUSR1);
    return NULL;
}
static pthread_t start_kicker(void) {
    static pthread_t self;
    self = pthread_self();
    pthread_t t;
    pthread_create(&t, NULL, kicker, &self);
    return t;
}
static volatile char *on_stack;
static void note_stack(int signal) {
    (void)signal;
    char here;
    on_stack = &here;
}

int main(void) {
    struct sigaction a = {.sa_handler = simple}, old;
    sigset_t set, oldset;
    pthread_t t;
    SECTION("sigaction");
    R(sigaction(SIGUSR1, &a, &old));
    C(old.sa_handler == SIG_DFL);
    R(sigaction(SIGUSR1, NULL, &old));
    C(old.sa_handler == simple);
    R(sigaction(SIGKILL, &a, NULL));
    R(sigaction(SIGSTOP, &a, NULL));
    R(sigaction(0, &a, NULL));
    R(sigaction(65, &a, NULL));
    R(syscall(SYS_rt_sigaction, SIGUSR1, NULL, NULL, 4));
    R(raise(SIGUSR1));
    R(count);
    R(kill(getpid(), SIGUSR1));
    R(count);
    R(kill(getpid(), 0));
    R(kill(getpid(), 65));
    R(kill(getpid(), -1));
    R(syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), SIGUSR1));
    R(count);
    R(syscall(SYS_tgkill, getpid(), NO_PROCESS, SIGUSR1));
    R(syscall(SYS_tgkill, getpid(), -1, SIGUSR1));
    R(syscall(SYS_tkill, syscall(SYS_gettid), SIGUSR1));
    R(count);

    SECTION("siginfo");
    a = (struct sigaction){.sa_sigaction = detailed, .sa_flags = SA_SIGINFO};
    sigaction(SIGUSR2, &a, NULL);
    kill(getpid(), SIGUSR2);
    R(last);
    R(code_of);
    syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), SIGUSR2);
    R(code_of);

    SECTION("blocking");
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    R(sigprocmask(SIG_BLOCK, &set, &oldset));
    R(sigismember(&oldset, SIGUSR1));
    count = 0;
    raise(SIGUSR1);
    raise(SIGUSR1);
    R(count);
    R(sigpending(&oldset));
    R(sigismember(&oldset, SIGUSR1));
    R(sigprocmask(SIG_UNBLOCK, &set, NULL));
    R(count);
    R(sigprocmask(99, &set, NULL));
    R(syscall(SYS_rt_sigprocmask, SIG_SETMASK, BAD, NULL, 8));
    sigfillset(&set);
    sigprocmask(SIG_SETMASK, &set, NULL);
    sigprocmask(SIG_SETMASK, NULL, &oldset);
    R(sigismember(&oldset, SIGKILL));
    R(sigismember(&oldset, SIGTERM));
    sigemptyset(&set);
    sigprocmask(SIG_SETMASK, &set, NULL);

    SECTION("real-time signals queue");
    a = (struct sigaction){.sa_handler = simple};
    sigaction(SIGRTMIN + 1, &a, NULL);
    sigaddset(&set, SIGRTMIN + 1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    count = 0;
    raise(SIGRTMIN + 1);
    raise(SIGRTMIN + 1);
    raise(SIGRTMIN + 1);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    R(count);

    SECTION("flags");
    count = 0;
    a = (struct sigaction){.sa_handler = nested, .sa_flags = SA_NODEFER};
    sigaction(SIGUSR2, &a, NULL);
    raise(SIGUSR2);
    R(count);
    R(max_depth);
    count = depth = max_depth = 0;
    a.sa_flags = 0;
    sigaction(SIGUSR2, &a, NULL);
    raise(SIGUSR2);
    R(count);
    R(max_depth);
    a = (struct sigaction){.sa_handler = simple, .sa_flags = SA_RESETHAND};
    sigaction(SIGUSR2, &a, NULL);
    raise(SIGUSR2);
    sigaction(SIGUSR2, NULL, &old);
    C(old.sa_handler == SIG_DFL);
    signal(SIGUSR2, SIG_IGN);
    count = 0;
    raise(SIGUSR2);
    R(count);
    raise(SIGCHLD);
    raise(SIGURG);
    raise(SIGWINCH);
    R(count);

    SECTION("interrupted calls");
    int p[2];
    char b[4];
    pipe(p);
    a = (struct sigaction){.sa_handler = simple};
    sigaction(SIGUSR1, &a, NULL);
    t = start_kicker();
    R(read(p[0], b, 1));
    pthread_join(t, NULL);
    struct timespec ts = {10, 0}, rest;
    t = start_kicker();
    R(nanosleep(&ts, &rest));
    C(rest.tv_sec == 9);
    pthread_join(t, NULL);
    t = start_kicker();
    R(poll(NULL, 0, 10000));
    pthread_join(t, NULL);
    t = start_kicker();
    R(pause());
    pthread_join(t, NULL);
    a.sa_flags = SA_RESTART;
    sigaction(SIGUSR1, &a, NULL);
    t = start_kicker();
    R(poll(NULL, 0, 10000));
    pthread_join(t, NULL);
    count = 0;
    t = start_kicker();
    struct pollfd f = {p[0], POLLIN, 0};
    while (count == 0)
        poll(&f, 1, 1);
    pthread_join(t, NULL);
    R(count);

    SECTION("sigsuspend, sigtimedwait");
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    raise(SIGUSR1);
    count = 0;
    sigset_t none;
    sigemptyset(&none);
    R(sigsuspend(&none));
    R(count);
    sigprocmask(SIG_SETMASK, NULL, &oldset);
    R(sigismember(&oldset, SIGUSR1));
    raise(SIGUSR1);
    siginfo_t info;
    R(sigwaitinfo(&set, &info));
    R(info.si_signo);
    R(count);
    ts = (struct timespec){0, 5000000};
    R(sigtimedwait(&set, &info, &ts));
    ts = (struct timespec){0, -1};
    R(sigtimedwait(&set, &info, &ts));
    t = start_kicker();
    R(sigwaitinfo(&set, NULL));
    pthread_join(t, NULL);
    raise(SIGUSR1);
    f = (struct pollfd){p[0], POLLIN, 0};
    ts = (struct timespec){5, 0};
    R(ppoll(&f, 1, &ts, &none));
    R(count);
    sigprocmask(SIG_UNBLOCK, &set, NULL);

    SECTION("alternate stack");
    static char stack[65536];
    stack_t ss = {.ss_sp = stack, .ss_size = sizeof stack}, os;
    R(sigaltstack(NULL, &os));
    R(os.ss_flags);
    R(sigaltstack(&ss, NULL));
    a = (struct sigaction){.sa_handler = note_stack, .sa_flags = SA_ONSTACK};
    sigaction(SIGUSR2, &a, NULL);
    raise(SIGUSR2);
    C(on_stack >= stack && on_stack < stack + sizeof stack);
    R(sigaltstack(NULL, &os));
    C(os.ss_sp == stack && os.ss_size == sizeof stack);
    ss.ss_size = 100;
    R(sigaltstack(&ss, NULL));
    ss.ss_flags = 12345;
    R(sigaltstack(&ss, NULL));
    ss.ss_flags = SS_DISABLE;
    R(sigaltstack(&ss, NULL));

    SECTION("floating point is kept");
    a = (struct sigaction){.sa_handler = uses_fpu};
    sigaction(SIGUSR2, &a, NULL);
    double x = 3.25, y = 0;
    for (int i = 0; i < 20; i++) {
        y += x;
        raise(SIGUSR2);
    }
    printf("%.2f\n", y);

    SECTION("timers");
    signal(SIGALRM, simple);
    count = 0;
    struct itimerval it = {{0, 0}, {50, 0}}, oit;
    R(setitimer(ITIMER_REAL, &it, NULL));
    R(getitimer(ITIMER_REAL, &oit));
    C(oit.it_value.tv_sec > 20 && oit.it_value.tv_sec <= 50);
    it.it_value = (struct timeval){0, 200000};
    R(setitimer(ITIMER_REAL, &it, NULL));
    R(pause());
    R(last);
    it.it_value.tv_usec = 2000000;
    R(setitimer(ITIMER_REAL, &it, NULL));
    R(setitimer(99, &it, NULL));
    R(alarm(100));
    R(alarm(0));
    R(alarm(0));

    SECTION("SIGPIPE");
    count = 0;
    signal(SIGPIPE, simple);
    close(p[0]);
    R(write(p[1], "x", 1));
    R(count);
    R(last);
    return 0;
}
