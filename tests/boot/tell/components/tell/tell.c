/* Tells what a start gave it, in an order of its own, then ends as its first argument says: `crash` by a wild write. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static int compare(const void *left, const void *right)
{
    return strcmp(*(char *const *)left, *(char *const *)right);
}

static void tell_secret(const char *name)
{
    char path[100], content[4096] = "";
    struct stat info;

    snprintf(path, sizeof path, "/run/secrets/%s", name);
    FILE *file = fopen(path, "r");
    if (file == NULL || fstat(fileno(file), &info) != 0)
        return;
    size_t size = fread(content, 1, sizeof content - 1, file);
    unsigned sum = 0;
    for (size_t i = 0; i < size; i++)
        sum = sum * 31 + (unsigned char)content[i];
    printf("told: secret %s mode %o size %zu sum %u\n", name, info.st_mode & 07777, size, sum);
    fclose(file);
}

__attribute__((noinline)) static void write_wildly(volatile int *where)
{
    *where = 7;
}

__attribute__((noinline)) static int lose_the_way(void)
{
    write_wildly((int *)0x123456789000);
    return 0;
}

int main(int count, char **arguments)
{
    char host[65] = "";
    struct stat info;
    size_t variables = 0;

    for (int i = 1; i < count; i++)
        printf("told: argument %s\n", arguments[i]);
    while (environ[variables] != NULL)
        variables++;
    qsort(environ, variables, sizeof *environ, compare);
    for (size_t i = 0; i < variables; i++)
        printf("told: environment %s\n", environ[i]);
    gethostname(host, sizeof host - 1);
    printf("told: host %s\n", host);
    if (stat("/run/secrets", &info) == 0)
        printf("told: secrets mode %o\n", info.st_mode & 07777);
    tell_secret("token");
    tell_secret("other.key");
    printf("told: year %d\n", (int)(time(NULL) / 31556952) + 1970);
    fflush(stdout);
    return count > 1 && strcmp(arguments[1], "crash") == 0 ? lose_the_way() : 3;
}
