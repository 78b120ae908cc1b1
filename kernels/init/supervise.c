#define _GNU_SOURCE 1
#include "supervise.h"

#include "deadline.h"
#include "network.h"
#include "report.h"
#include "system.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

enum { GRACE = 10, MOST_GRACE = 86400 }; /* seconds */

struct program {
    pid_t pid;
    int status; /* of waitpid */
    bool ended;
    long grace;      /* seconds that it has to end */
    int64_t kill_at; /* milliseconds; 0: it was not asked to end */
};

/* What has arrived of a control line from the host. */
struct line {
    char bytes[CONTROL_LINE];
    size_t length;
    bool too_long;
};

/* Arguments or environment end with NULL for execve. */
static char *argv[SETTINGS_ARGUMENTS + 2];
static char *envp[SETTINGS_ENVIRONMENT + 3];

static bool has_variable(const struct settings *settings, const char *prefix)
{
    for (size_t i = 0; i < settings->environment_count; i++)
        if (strncmp(settings->environment[i], prefix, strlen(prefix)) == 0)
            return true;
    return false;
}

/* execve takes char *const[] for historical reasons; nothing is written through these pointers. */
static void fill_vectors(const struct settings *settings)
{
    size_t at = 0;
    argv[at++] = (char *)(uintptr_t)settings->program;
    for (size_t i = 0; i < settings->argument_count; i++)
        argv[at++] = (char *)(uintptr_t)settings->arguments[i];
    at = 0;
    if (!has_variable(settings, "PATH="))
        envp[at++] = (char *)(uintptr_t) "PATH=/usr/local/bin:/usr/bin:/bin";
    if (!has_variable(settings, "HOME="))
        envp[at++] = (char *)(uintptr_t) "HOME=/tmp";
    for (size_t i = 0; i < settings->environment_count; i++)
        envp[at++] = (char *)(uintptr_t)settings->environment[i];
}

/* In the child: becomes the program. Writes errno to `report`, which closes on success, and ends. */
static void become_program(const struct settings *settings, int report)
{
    sigset_t none;

    sigemptyset(&none);
    setsid();
    if (chdir("/") == 0 && sigprocmask(SIG_SETMASK, &none, NULL) == 0)
        execve(settings->program, argv, envp);
    int why = errno;
    if (write(report, &why, sizeof why) != sizeof why)
        _exit(126);
    _exit(127);
}

static pid_t start(const struct settings *settings)
{
    int report[2], why = 0;

    fill_vectors(settings);
    if (pipe2(report, O_CLOEXEC) != 0)
        fail("'%s' cannot be started: %s.", settings->program, strerror(errno));
    pid_t pid = fork();
    if (pid < 0)
        fail("'%s' cannot be started: %s.", settings->program, strerror(errno));
    if (pid == 0)
        become_program(settings, report[1]);
    close(report[1]);
    ssize_t size;
    do
        size = read(report[0], &why, sizeof why);
    while (size < 0 && errno == EINTR);
    close(report[0]);
    if (size != 0) {
        waitpid(pid, NULL, 0);
        if (why == ENOENT && access(settings->program, F_OK) == 0)
            fail("'%s' cannot be started: the interpreter or dynamic linker that it names is missing.",
                 settings->program);
        fail("'%s' cannot be started: %s.", settings->program, strerror(why));
    }
    return pid;
}

/* Reaps every process that has ended; the others are orphans that the program left. */
static void reap(struct program *program)
{
    int status;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
        if (pid == program->pid) {
            program->ended = true;
            program->status = status;
        }
    }
}

/* Seconds of `stop` or `stop SECONDS`; -1: the line is another. */
static long grace_of(const char *line)
{
    if (strcmp(line, "stop") == 0)
        return GRACE;
    if (strncmp(line, "stop ", 5) != 0)
        return -1;
    const char *digits = line + 5;
    size_t length = strspn(digits, "0123456789");
    if (length == 0 || length > 9 || digits[length] != '\0')
        return -1;
    long seconds = strtol(digits, NULL, 10);
    return seconds < 1 ? 1 : seconds > MOST_GRACE ? MOST_GRACE : seconds;
}

static void obey(const char *line, struct program *program)
{
    long grace = grace_of(line);

    if (strncmp(line, "renew ", 6) == 0 && renew_system(line + 6)) {
        tell("renewed");
        return;
    }
    if (grace < 0) {
        say("The host sent a control line that is not known.");
        return;
    }
    if (program->kill_at != 0)
        return; /* asked already */
    program->grace = grace;
    program->kill_at = now_ms() + (int64_t)grace * 1000;
    kill(-program->pid, SIGTERM);
}

/* Takes what the host has sent. False where the channel is gone. */
static bool read_control(int fd, struct line *line, struct program *program)
{
    char bytes[CONTROL_LINE];
    ssize_t size = read(fd, bytes, sizeof bytes);

    if (size <= 0)
        return size < 0 && (errno == EAGAIN || errno == EINTR);
    for (ssize_t i = 0; i < size; i++) {
        if (bytes[i] == '\n') {
            line->bytes[line->length] = '\0';
            if (line->too_long)
                say("The host sent a control line that is longer than %d bytes.", CONTROL_LINE);
            else
                obey(line->bytes, program);
            line->length = 0;
            line->too_long = false;
        } else if (line->length == sizeof line->bytes - 1) {
            line->too_long = true;
        } else {
            line->bytes[line->length++] = bytes[i];
        }
    }
    return true;
}

static void watch(struct program *program)
{
    static struct line line;
    struct signalfd_siginfo signals[8];
    sigset_t child;

    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    int ended = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
    if (ended < 0)
        fail("The program cannot be watched: %s.", strerror(errno));
    struct pollfd watched[3] = {{ended, POLLIN, 0}, {report_control(), POLLIN, 0}, {-1, POLLIN, 0}};
    for (reap(program); !program->ended; reap(program)) {
        int64_t left = program->kill_at == 0 ? -1 : program->kill_at - now_ms();
        if (program->kill_at != 0 && left <= 0) {
            say("The program did not end within %ld seconds after it was asked to; it is killed.", program->grace);
            kill(-program->pid, SIGKILL);
            kill(program->pid, SIGKILL);
            program->kill_at = INT64_MAX;
            left = -1;
        }
        if (left < 0 || left > 60000)
            left = 60000;
        if (network_due() <= now_ms())
            network_advance();
        watched[2].fd = network_socket();
        int64_t due = network_due() - now_ms();
        if (due < left)
            left = due > 0 ? due : 0;
        if (poll(watched, 3, (int)left) < 0 && errno != EINTR)
            fail("The program cannot be watched: %s.", strerror(errno));
        if (watched[0].revents != 0)
            while (read(ended, signals, sizeof signals) > 0)
                continue;
        if (watched[1].revents != 0 && !read_control(watched[1].fd, &line, program))
            watched[1].fd = -1;
        if (watched[2].revents != 0)
            network_advance();
    }
    close(ended);
}

/* Kills what the program left behind: an open file would keep its volume from being unmounted. */
static void clear(void)
{
    kill(-1, SIGKILL);
    while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
        continue;
}

int supervise(const struct settings *settings)
{
    struct program program = {0};
    sigset_t child;

    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    sigprocmask(SIG_BLOCK, &child, NULL);
    program.pid = start(settings);
    tell("start");
    watch(&program);
    clear();
    if (!WIFSIGNALED(program.status))
        return WEXITSTATUS(program.status);
    int signal = WTERMSIG(program.status);
    say("The program was killed by signal %d (%s).", signal, strsignal(signal));
    return 128 + signal;
}
