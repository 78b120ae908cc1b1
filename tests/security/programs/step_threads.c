/*
 * Two threads that step, each on handlers' stacks that lie in a file and are read from the disk when the kernel writes the
 * signal's frame there: while one waits for the disk in the middle of its debug exception, the other one has its own.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <ucontext.h>

#define STEPS 200
#define STACK 16384
#define TRAP_FLAG 0x100

static char *stacks;
static __thread volatile unsigned steps;

static void stepped(int signal, siginfo_t *info, void *context) {
    (void)signal;
    (void)info;
    ((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL] &= ~TRAP_FLAG;
    steps++;
}

static void *step(void *argument) {
    unsigned thread = (unsigned)(unsigned long)argument;
    for (unsigned i = 0; i < STEPS; i++) {
        stack_t stack = {.ss_sp = stacks + (size_t)(2 * i + thread) * STACK, .ss_size = STACK};
        if (sigaltstack(&stack, NULL) != 0)
            return "no stack";
        __asm__ volatile("pushfq; orq $0x100, (%%rsp); popfq; nop" : : : "cc", "memory");
        if (steps != i + 1)
            return "no step";
    }
    return NULL;
}

int main(void) {
    struct sigaction action = {.sa_sigaction = stepped, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    pthread_t threads[2];
    void *why;
    int fd = open("/srv/large", O_RDONLY);
    stacks = mmap(NULL, 2 * STEPS * STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    if (fd < 0 || stacks == MAP_FAILED || sigaction(SIGTRAP, &action, NULL) != 0)
        return 1;
    for (unsigned long i = 0; i < 2; i++)
        if (pthread_create(&threads[i], NULL, step, (void *)i) != 0)
            return 2;
    for (unsigned i = 0; i < 2; i++)
        if (pthread_join(threads[i], &why) != 0 || why)
            return 3;
    puts("both have stepped to their end");
    return 0;
}
