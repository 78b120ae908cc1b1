#include "abi.h"

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static int shared, turn;
static __thread int local = 5;
static pthread_key_t key;
static int destroyed;

static void destroy(void *value) {
    destroyed += (int)(intptr_t)value;
}
static void *add(void *argument) {
    for (int i = 0; i < 1000; i++) {
        pthread_mutex_lock(&mutex);
        shared++;
        pthread_mutex_unlock(&mutex);
        if (i % 100 == 0)
            sched_yield();
    }
    local += (int)(intptr_t)argument;
    pthread_setspecific(key, (void *)1);
    return (void *)(intptr_t)local;
}
static void *ping(void *argument) {
    int me = (int)(intptr_t)argument;
    for (int i = 0; i < 50; i++) {
        pthread_mutex_lock(&mutex);
        while (turn != me)
            pthread_cond_wait(&condition, &mutex);
        turn = !me;
        pthread_cond_broadcast(&condition);
        pthread_mutex_unlock(&mutex);
    }
    return NULL;
}
static void *spin(void *stop) {
    long n = 0;
    while (!*(volatile int *)stop)
        n++;
    return (void *)(intptr_t)(n > 0);
}
static uint32_t word;
static void *waker(void *unused) {
    (void)unused;
    usleep(20000);
    word = 1;
    syscall(SYS_futex, &word, FUTEX_WAKE, 10, NULL, NULL, 0);
    return NULL;
}
static void *die_with_mutex(void *m) {
    pthread_mutex_lock(m);
    return NULL;
}
static double compute(double seed) {
    double x = seed;
    for (int i = 0; i < 2000; i++) {
        x = x * 1.0000001 + 0.5;
        if (i % 200 == 0)
            sched_yield();
    }
    return x;
}
static void *floats(void *result) {
    *(double *)result = compute(*(double *)result);
    return NULL;
}

int main(void) {
    pthread_t t[8];
    void *result;
    SECTION("create and join");
    pthread_key_create(&key, destroy);
    for (int i = 0; i < 8; i++)
        R(pthread_create(&t[i], NULL, add, (void *)(intptr_t)i));
    for (int i = 0; i < 8; i++) {
        pthread_join(t[i], &result);
        R((long)result);
    }
    R(shared);
    R(local);
    R(destroyed);
    SECTION("conditions");
    pthread_create(&t[0], NULL, ping, (void *)0);
    pthread_create(&t[1], NULL, ping, (void *)1);
    R(pthread_join(t[0], NULL));
    R(pthread_join(t[1], NULL));
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    ts.tv_nsec += 10000000;
    if (ts.tv_nsec >= 1000000000) {
        ts.tv_sec++;
        ts.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&mutex);
    C(pthread_cond_timedwait(&condition, &mutex, &ts) == ETIMEDOUT);
    pthread_mutex_unlock(&mutex);
    SECTION("a thread that computes does not stop the others");
    int stop = 0;
    pthread_create(&t[0], NULL, spin, &stop);
    usleep(30000);
    stop = 1;
    pthread_join(t[0], &result);
    R((long)result);
    SECTION("floating point is each thread's own");
    double values[4] = {1, 2, 3, 4};
    for (int i = 0; i < 4; i++)
        pthread_create(&t[i], NULL, floats, &values[i]);
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    for (int i = 0; i < 4; i++)
        C(values[i] == compute(i + 1));
    SECTION("futex");
    word = 0;
    R(syscall(SYS_futex, &word, FUTEX_WAIT, 1, NULL, NULL, 0));
    ts = (struct timespec){0, 10000000};
    R(syscall(SYS_futex, &word, FUTEX_WAIT, 0, &ts, NULL, 0));
    R(syscall(SYS_futex, &word, FUTEX_WAKE, 1, NULL, NULL, 0));
    R(syscall(SYS_futex, (char *)&word + 1, FUTEX_WAIT, 0, NULL, NULL, 0));
    R(syscall(SYS_futex, BAD, FUTEX_WAIT, 0, NULL, NULL, 0));
    R(syscall(SYS_futex, &word, 77, 0, NULL, NULL, 0));
    ts.tv_nsec = -1;
    R(syscall(SYS_futex, &word, FUTEX_WAIT, 0, &ts, NULL, 0));
    R(syscall(SYS_futex, &word, FUTEX_WAIT_BITSET, 0, NULL, NULL, 0));
    R(syscall(SYS_futex, &word, FUTEX_WAKE_BITSET, 1, NULL, NULL, 0));
    ts = (struct timespec){0, 1};
    R(syscall(SYS_futex, &word, FUTEX_WAIT_BITSET, 0, &ts, NULL, 1));
    pthread_create(&t[0], NULL, waker, NULL);
    R(syscall(SYS_futex, &word, FUTEX_WAIT, 0, NULL, NULL, 0));
    pthread_join(t[0], NULL);
    R(syscall(SYS_futex, &word, FUTEX_CMP_REQUEUE, 1, 1, &shared, 99));
    word = 5;
    R(syscall(SYS_futex, &shared, FUTEX_WAKE_OP, 1, 1, &word, FUTEX_OP_ADD_CMP_EQ(2, 5)));
    R(word);
    SECTION("robust mutexes");
    pthread_mutexattr_t attribute;
    pthread_mutex_t robust;
    pthread_mutexattr_init(&attribute);
    pthread_mutexattr_setrobust(&attribute, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&robust, &attribute);
    pthread_create(&t[0], NULL, die_with_mutex, &robust);
    pthread_join(t[0], NULL);
    C(pthread_mutex_lock(&robust) == EOWNERDEAD);
    R(pthread_mutex_consistent(&robust));
    R(pthread_mutex_unlock(&robust));
    SECTION("identity");
    C(syscall(SYS_gettid) == getpid());
    C(syscall(SYS_set_tid_address, NULL) == getpid());
    SECTION("clone that is no thread is refused or forks");
    R(syscall(SYS_set_robust_list, NULL, 5));
    R(syscall(SYS_clone, CLONE_SIGHAND, 0, 0, 0, 0));
    return 0;
}
