/* Does what its first argument says. Every way of ending, and what a program finds around it, is tried by this. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static void print_file(const char *path)
{
    char line[512];
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        printf("%s: %s\n", path, strerror(errno));
        return;
    }
    while (fgets(line, sizeof line, file) != NULL)
        printf("%s: %s", path, line);
    fclose(file);
}

/* Whether a file can be made at `path`: "yes", or why not. */
static const char *writable(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (fd < 0)
        return strerror(errno);
    close(fd);
    return "yes";
}

static int report(int argc, char *argv[])
{
    char text[256] = "";
    struct rlimit files;
    unsigned char random[16];
    struct timespec begin, end;

    for (int i = 0; i < argc; i++)
        printf("argument %d: %s\n", i, argv[i]);
    for (char **at = environ; *at != NULL; at++)
        printf("environment: %s\n", *at);
    gethostname(text, sizeof text);
    printf("host name: %s\n", text);
    printf("folder: %s\n", getcwd(text, sizeof text));
    printf("leads its session: %s\n", getsid(0) == getpid() ? "yes" : "no");
    printf("parent: %d\n", (int)getppid());
    printf("user: %d\n", (int)getuid());
    printf("input: %s\n", isatty(STDIN_FILENO) ? "a terminal" : "none");
    printf("time: %lld\n", (long long)time(NULL));
    getrlimit(RLIMIT_NOFILE, &files);
    printf("open files: %llu\n", (unsigned long long)files.rlim_cur);
    clock_gettime(CLOCK_MONOTONIC, &begin);
    ssize_t size = getrandom(random, sizeof random, 0);
    clock_gettime(CLOCK_MONOTONIC, &end);
    printf("random: %zd bytes in %lld us\n", size,
           (long long)(end.tv_sec - begin.tv_sec) * 1000000 + (end.tv_nsec - begin.tv_nsec) / 1000);
    printf("writable /new: %s\n", writable("/new"));
    printf("writable /tmp/new: %s\n", writable("/tmp/new"));
    printf("writable /data/deep/new: %s\n", writable("/data/deep/new"));
    print_file("/etc/hosts");
    print_file("/etc/resolv.conf");
    print_file("/proc/net/route");
    print_file("/proc/mounts");
    return 0;
}

static int echo(void)
{
    struct sockaddr_in where = {.sin_family = AF_INET, .sin_port = htons(7), .sin_addr.s_addr = htonl(INADDR_ANY)};
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listener, (struct sockaddr *)&where, sizeof where) != 0 || listen(listener, 8) != 0) {
        perror("probe: listen");
        return 1;
    }
    puts("probe: ready");
    for (;;) {
        char bytes[256];
        int peer = accept(listener, NULL, NULL);
        if (peer < 0)
            return 1;
        for (ssize_t size; (size = read(peer, bytes, sizeof bytes)) > 0;)
            if (write(peer, bytes, (size_t)size) != size)
                break;
        close(peer);
    }
}

static _Noreturn void stay_deaf(void)
{
    signal(SIGTERM, SIG_IGN);
    puts("probe: ready");
    for (;;)
        pause();
}

static volatile sig_atomic_t told;

static void on_term(int number)
{
    told = number;
}

/* Ends with status 5 when told to, and says so. */
static int obey(void)
{
    signal(SIGTERM, on_term);
    puts("probe: ready");
    while (!told)
        pause();
    puts("probe: told to end");
    return 5;
}

/* Leaves a process behind that holds a file of the volume open and ignores SIGTERM. */
static int leave_orphan(void)
{
    int told_open[2];
    char byte;

    if (pipe(told_open) != 0)
        return 1;
    pid_t child = fork();
    if (child == 0) {
        if (fork() != 0)
            _exit(0);
        signal(SIGTERM, SIG_IGN);
        int held = open("/data/deep/held", O_WRONLY | O_CREAT | O_TRUNC, 0600);
        if (held < 0 || write(held, "held\n", 5) != 5 || write(told_open[1], "", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    close(told_open[1]);
    if (child < 0 || waitpid(child, NULL, 0) != child || read(told_open[0], &byte, 1) != 1)
        return 1;
    return 3;
}

/* Many processes that end as orphans: each must be reaped. */
static int leave_zombies(void)
{
    for (int i = 0; i < 200; i++) {
        pid_t child = fork();
        if (child < 0)
            return 1;
        if (child == 0) {
            if (fork() == 0)
                _exit(0);
            _exit(0);
        }
        waitpid(child, NULL, 0);
    }
    usleep(200000);
    int zombies = 0;
    for (int pid = 2; pid < 2000; pid++) {
        char path[32], state = 0;
        snprintf(path, sizeof path, "/proc/%d/stat", pid);
        FILE *file = fopen(path, "r");
        if (file == NULL)
            continue;
        if (fscanf(file, "%*d %*s %c", &state) == 1 && state == 'Z')
            zombies++;
        fclose(file);
    }
    printf("zombies: %d\n", zombies);
    return 0;
}

static int take_all_memory(void)
{
    for (;;) {
        unsigned char *piece = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (piece == MAP_FAILED)
            return 1;
        memset(piece, 1, 1 << 20);
    }
}

/* Makes the kernel panic (admin-guide/sysrq.rst). */
static int panic(void)
{
    int trigger = open("/proc/sysrq-trigger", O_WRONLY);
    if (trigger < 0 || write(trigger, "c", 1) != 1)
        perror("probe: /proc/sysrq-trigger");
    return 1;
}

int main(int argc, char *argv[])
{
    const char *what = argc > 1 ? argv[1] : "";

    setvbuf(stdout, NULL, _IONBF, 0);
    if (strcmp(what, "report") == 0)
        return report(argc, argv);
    if (strcmp(what, "echo") == 0)
        return echo();
    if (strcmp(what, "deaf") == 0)
        stay_deaf();
    if (strcmp(what, "obey") == 0)
        return obey();
    if (strcmp(what, "orphan") == 0)
        return leave_orphan();
    if (strcmp(what, "zombies") == 0)
        return leave_zombies();
    if (strcmp(what, "memory") == 0)
        return take_all_memory();
    if (strcmp(what, "panic") == 0)
        return panic();
    if (strcmp(what, "segfault") == 0) {
        volatile uintptr_t nowhere = 0;
        *(volatile int *)nowhere = 1;
    }
    if (strcmp(what, "abort") == 0)
        abort();
    if (strcmp(what, "wait") == 0) {
        puts("probe: waiting for nothing");
        for (;;)
            pause();
    }
    printf("probe: there is nothing called '%s' to do.\n", what);
    return 2;
}
