/*
 * With no argument: calls each call of an optional part and prints its name where it is ENOSYS; then what a C library does
 * for one thread, which every kernel has. With one: ends as it says.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define FUTEX_CMP_REQUEUE 4
/* Also with the part `threads` nothing starts: a namespace is refused. */
#define THREAD (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_NEWNS)

#define CALL(name, ...) missing(#name, syscall(SYS_##name, ##__VA_ARGS__))

static int initialised;
static char room[256];

static void missing(const char *name, long result) {
    printf("%s: %s\n", name, result == -1 && errno == ENOSYS ? "ENOSYS" : "is there");
}

static void initialise(void) {
    initialised++;
}

static void handle(int signal) {
    (void)signal;
}

static void left_out(void) {
    unsigned long clone_args[8] = {THREAD};
    unsigned word = 0;
    int ends[2];
    CALL(poll, room, 0, 0);
    CALL(ppoll, room, 0, room, 0, 8);
    CALL(select, 0, 0, 0, 0, room);
    CALL(pselect6, 0, 0, 0, 0, room, 0);
    CALL(epoll_create, 1);
    CALL(epoll_create1, 0);
    CALL(epoll_ctl, 0, 0, 0, 0);
    CALL(epoll_wait, 0, room, 1, 0);
    CALL(epoll_pwait, 0, room, 1, 0, 0, 8);
    CALL(epoll_pwait2, 0, room, 1, room, 0, 8);
    CALL(eventfd, 0);
    CALL(eventfd2, 0, 0);
    CALL(timerfd_create, 0, 0);
    CALL(timerfd_settime, 0, 0, room, 0);
    CALL(timerfd_gettime, 0, room);
    CALL(pipe, ends);
    CALL(pipe2, ends, 0);
    CALL(clone, THREAD, 0, 0, 0, 0);
    CALL(clone3, clone_args, 64);
    CALL(futex, &word, FUTEX_CMP_REQUEUE, 1, 1, &word, 0);
    CALL(sigaltstack, 0, 0);
    CALL(rt_sigpending, room, 8);
    CALL(rt_sigtimedwait, room, 0, room, 8);
    CALL(mkdir, "/tmp/folder", 0700);
    CALL(unlink, "/tmp/nothing");
    CALL(rename, "/tmp/one", "/tmp/two");
    CALL(symlink, "one", "/tmp/two");
    CALL(chmod, "/tmp", 0755);
    CALL(chown, "/tmp", 0, 0);
    CALL(truncate, "/tmp/nothing", 0);
    CALL(ftruncate, 0, 0);
    CALL(fallocate, 0, 0, 0, 1);
    CALL(utimensat, 0, "/tmp", 0, 0);
    CALL(socket, 2, 1, 0);
    missing("a handler", sigaction(SIGUSR1, &(struct sigaction){.sa_handler = handle}, NULL));
    missing("a handler", sigaction(SIGUSR2, &(struct sigaction){.sa_handler = handle}, NULL));
}

static void one_thread(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
    struct timespec until;
    sem_t semaphore;
    pthread_t other;
    pthread_once(&once, initialise);
    pthread_mutex_lock(&mutex);
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec = (until.tv_nsec + 1000000) % 1000000000;
    printf("once %d, condition %s", initialised, strerror(pthread_cond_timedwait(&condition, &mutex, &until)));
    pthread_cond_broadcast(&condition);
    pthread_mutex_unlock(&mutex);
    sem_init(&semaphore, 0, 1);
    sem_wait(&semaphore);
    int status = sem_timedwait(&semaphore, &until);
    printf(", semaphore %d %s\n", status, strerror(errno));
    printf("a thread: %s\n", strerror(pthread_create(&other, NULL, (void *(*)(void *))initialise, NULL)));
    FILE *file = fopen("/tmp/file", "w+");
    fputs("written", file);
    rewind(file);
    printf("a file: %s\n", fgets(room, sizeof room, file));
    signal(SIGTERM, SIG_IGN);
    raise(SIGTERM);
    printf("ignored\n");
}

int main(int argc, char **argv) {
    const char *how = argc > 1 ? argv[1] : "";
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (strcmp(how, "abort") == 0)
        abort();
    if (strcmp(how, "terminate") == 0)
        raise(SIGTERM);
    if (strcmp(how, "fault") == 0)
        *(volatile int *)8 = 1;
    if (strcmp(how, "exit") == 0)
        syscall(SYS_exit, 7);
    left_out();
    one_thread();
    return 0;
}
