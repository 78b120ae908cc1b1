/*
 * Signals of the program.
 */
#ifndef NANO_SIGNAL_H
#define NANO_SIGNAL_H

#include "hal/cpu.h"
#include "nano/thread.h"

#define SIGHUP 1
#define SIGINT 2
#define SIGQUIT 3
#define SIGILL 4
#define SIGTRAP 5
#define SIGABRT 6
#define SIGBUS 7
#define SIGFPE 8
#define SIGKILL 9
#define SIGUSR1 10
#define SIGSEGV 11
#define SIGUSR2 12
#define SIGPIPE 13
#define SIGALRM 14
#define SIGTERM 15
#define SIGCHLD 17
#define SIGCONT 18
#define SIGSTOP 19
#define SIGTSTP 20
#define SIGTTIN 21
#define SIGTTOU 22
#define SIGURG 23
#define SIGXFSZ 25
#define SIGWINCH 28
#define SIGSYS 31
#define SIGNALS 64

/* Linux's siginfo_t; the fields that we fill. */
struct siginfo {
    int32_t signo, error, code, pad;
    union {
        struct {
            int32_t pid;
            uint32_t uid;
            uint64_t value;
        };
        uint64_t address;
        uint8_t room[112];
    };
};

/* To the whole program (any thread that does not block it) or to one thread. Any context. */
void signal_send_program(const struct siginfo *info);
void signal_send_thread(struct thread *thread, const struct siginfo *info);
/* SIGPIPE and the like: raised by what the current thread itself did. */
void signal_raise(int signal);
/* A fault of the program at the current instruction: never blocked or ignored. */
void signal_fault(struct hal_frame *frame, int signal, int code, uintptr_t address);
/* On the way to ring 3: ends the program, or builds the handler's frame. */
void signal_deliver(struct hal_frame *frame);
/* The current thread's blocked set until the system call ends or a handler has run (ppoll, sigsuspend). */
void signal_mask_for_call(uint64_t blocked);
/* A mask that the program passed, in force for this call: 0, -EINVAL, -EFAULT. 0 for none. */
int64_t mask_for_call(uintptr_t mask, uint64_t size);
/* Frees what hangs on a thread. */
void signal_thread_gone(struct thread *thread);

#endif
