#define _GNU_SOURCE 1
#include "secrets.h"

#include "report.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char FOLDER[] = "/run/secrets";

static bool write_all(int fd, const char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t done = write(fd, bytes, size);
        if (done < 0 && errno != EINTR)
            return false;
        if (done > 0) {
            bytes += done;
            size -= (size_t)done;
        }
    }
    return true;
}

void write_secrets(struct settings *settings)
{
    if (settings->secret_count == 0)
        return;
    if (mkdir(FOLDER, 0700) != 0)
        fail("The folder '%s' could not be created: %s.", FOLDER, strerror(errno));
    int folder = open(FOLDER, O_PATH | O_DIRECTORY | O_CLOEXEC);
    for (size_t i = 0; i < settings->secret_count; i++) {
        struct settings_secret *secret = &settings->secrets[i];
        size_t size = strlen(secret->value);
        int fd = openat(folder, secret->name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0400);
        if (fd < 0 || !write_all(fd, secret->value, size) || close(fd) != 0)
            fail("The secret '%s' could not be written: %s.", secret->name, strerror(errno));
        explicit_bzero(secret->value, size);
    }
    close(folder);
}
