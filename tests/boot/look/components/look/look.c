/* Says what a start gave it: arguments, environment, host name, secrets, whether its volume can be written. With the
 * argument `wait` it then waits for SIGTERM. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

extern char **environ;

static void show_secret(const char *name)
{
    char path[300], content[4096];
    struct stat info;

    snprintf(path, sizeof path, "/run/secrets/%s", name);
    int fd = open(path, O_RDONLY);
    if (fd < 0 || fstat(fd, &info) != 0)
        return;
    ssize_t size = read(fd, content, sizeof content - 1);
    close(fd);
    if (size < 0)
        return;
    content[size] = '\0';
    unsigned sum = 0; /* the console's log may not hold a secret either */
    for (ssize_t i = 0; i < size; i++)
        sum = sum * 31 + (unsigned char)content[i];
    printf("secret %s mode %o size %zd sum %u\n", name, info.st_mode & 07777, size, sum);
}

static void show_secrets(void)
{
    DIR *folder = opendir("/run/secrets");
    struct stat info;
    if (folder == NULL) {
        printf("no secrets\n");
        return;
    }
    if (stat("/run/secrets", &info) == 0)
        printf("secrets mode %o\n", info.st_mode & 07777);
    for (const struct dirent *entry; (entry = readdir(folder)) != NULL;)
        if (entry->d_name[0] != '.')
            show_secret(entry->d_name);
    closedir(folder);
}

int main(int argc, char *argv[])
{
    char host[65] = "";
    sigset_t term;
    int number;

    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    sigprocmask(SIG_BLOCK, &term, NULL);
    for (int i = 1; i < argc; i++)
        printf("argument %s\n", argv[i]);
    for (char **each = environ; *each != NULL; each++)
        printf("environment %s\n", *each);
    gethostname(host, sizeof host - 1);
    printf("host %s\n", host);
    show_secrets();
    int fd = open("/data/mark", O_WRONLY | O_CREAT | O_APPEND, 0644);
    if (fd >= 0 && write(fd, "mark\n", 5) == 5 && fsync(fd) == 0)
        printf("volume written\n");
    else
        printf("volume not written: %s\n", strerror(errno));
    printf("ready\n");
    fflush(stdout);
    if (argc > 1 && strcmp(argv[1], "wait") == 0)
        sigwait(&term, &number);
    return 0;
}
