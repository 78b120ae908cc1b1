/* Prints a greeting, its arguments and its environment in a stable order, and ends with the status asked for: it shows
 * that settings reach a program and that its status comes back. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern char **environ;

static const int STATUS_USAGE = 2;

static int compare(const void *left, const void *right)
{
    return strcmp(*(char *const *)left, *(char *const *)right);
}

/* The number that `text` is, from 0 to 255; -1 where it is none. */
static int parse_status(const char *text)
{
    char *end;
    if (*text < '0' || *text > '9')
        return -1;
    errno = 0;
    long value = strtol(text, &end, 10);
    return errno == 0 && *end == '\0' && value <= 255 ? (int)value : -1;
}

/* Sorts a copy of the environment, so that the order in which it was given does not show. */
static int print_environment(void)
{
    size_t count = 0;
    while (environ[count] != NULL)
        count++;
    char **sorted = calloc(count + 1, sizeof *sorted);
    if (sorted == NULL)
        return -1;
    memcpy(sorted, environ, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, compare);
    for (size_t i = 0; i < count; i++)
        printf("environment %s\n", sorted[i]);
    free(sorted);
    return 0;
}

int main(int argc, char *argv[])
{
    int status = EXIT_SUCCESS;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--status") != 0)
            continue;
        status = i + 1 < argc ? parse_status(argv[i + 1]) : -1;
        if (status < 0) {
            fprintf(stderr, "hello: '--status' takes a number from 0 to 255, not '%s'.\n",
                    i + 1 < argc ? argv[i + 1] : "");
            return STATUS_USAGE;
        }
        i++;
    }
    printf("Hello from Rumpel.\n");
    for (int i = 1; i < argc; i++)
        printf("argument %d: %s\n", i, argv[i]);
    if (print_environment() != 0 || fflush(stdout) != 0) {
        fprintf(stderr, "hello: the output could not be written.\n");
        return EXIT_FAILURE;
    }
    return status;
}
