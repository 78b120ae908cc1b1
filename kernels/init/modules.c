#define _GNU_SOURCE 1
#include "modules.h"

#include "report.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static const char FOLDER[] = "/rumpel/modules";

static int is_module(const struct dirent *entry)
{
    size_t length = strlen(entry->d_name);
    return length > 3 && strcmp(entry->d_name + length - 3, ".ko") == 0;
}

/* finit_module means something of its own by two of the numbers. */
static const char *reason(int error)
{
    if (error == ENOENT)
        return "it uses a symbol that neither the kernel nor a module before it offers";
    if (error == ENOEXEC)
        return "it is damaged or was built for another kernel";
    return strerror(error);
}

static void load(int folder, const char *name)
{
    int fd = openat(folder, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        fail("The kernel module '%s' could not be opened: %s.", name, strerror(errno));
    if (syscall(SYS_finit_module, fd, "", 0) != 0 && errno != EEXIST)
        fail("The kernel module '%s' could not be loaded: %s.", name, reason(errno));
    close(fd);
}

void load_modules(void)
{
    struct dirent **entries;
    int folder = open(FOLDER, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0) {
        if (errno == ENOENT)
            return; /* a kernel with everything built in */
        fail("The folder '%s' could not be opened: %s.", FOLDER, strerror(errno));
    }
    int count = scandir(FOLDER, &entries, is_module, alphasort);
    if (count < 0)
        fail("The folder '%s' could not be read: %s.", FOLDER, strerror(errno));
    for (int i = 0; i < count; i++) {
        load(folder, entries[i]->d_name);
        free(entries[i]);
    }
    free(entries);
    close(folder);
}
