/* Returns from a signal handler to ring 0's selectors and flags: they must not count. 0 if the program lives on. */
#define _GNU_SOURCE
#include <signal.h>
#include <ucontext.h>
static void handler(int signal, siginfo_t *info, void *context) {
    ucontext_t *u = context;
    (void)signal;
    (void)info;
    u->uc_mcontext.gregs[REG_CSGSFS] = 0x0010000000000008;
    u->uc_mcontext.gregs[REG_EFL] |= 0x3000; /* IOPL 3 */
    u->uc_mcontext.gregs[REG_EFL] &= ~0x200; /* interrupts closed */
}
int main(void) {
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
    unsigned long flags;
    unsigned short cs;
    sigaction(SIGUSR1, &action, 0);
    raise(SIGUSR1);
    __asm__ volatile("pushfq; pop %0; mov %%cs, %1" : "=r"(flags), "=r"(cs));
    return (flags & 0x3200) != 0x200 || (cs & 3) != 3;
}
