/*
 * The secrets of the settings, as files of /run/secrets: before the program starts, in memory only.
 */
#include "hal/string.h"
#include "nano/init.h"
#include "nano/program.h"
#include "nano/settings.h"
#include "nano/vfs.h"

#define FOLDER "/run/secrets"
#define MAX_SECRETS 64

int64_t vfs_write_file(const char *path, uint32_t mode, const void *bytes, size_t size) {
    struct file *file;
    int64_t status = vfs_open(NULL, path, O_WRONLY | O_CREAT | O_TRUNC, mode, &file);
    if (status != 0)
        return status;
    struct iter iter;
    struct segment segment;
    iter_init_kernel(&iter, &segment, (void *)(uintptr_t)bytes, size);
    status = size ? file_write(file, &iter) : 0;
    file_put(file);
    return status;
}

static void write_secrets(void) {
    const char *record;
    for (size_t i = 0; (record = settings_each("secret", i)); i++) {
        char path[128];
        const char *equals = strchr(record, '='), *value = equals + 1;
        if (i == MAX_SECRETS)
            program_fail(FAIL_SETTINGS, "The settings have more than %d secrets.", MAX_SECRETS);
        int64_t status = i == 0 ? vfs_make(NULL, FOLDER, S_IFDIR | 0700, NULL) : 0;
        hal_format(path, sizeof path, FOLDER "/%.*s", (int)(equals - record), record);
        if (status == 0)
            status = vfs_write_file(path, 0400, value, strlen(value));
        if (status != (int64_t)strlen(value))
            program_fail(FAIL_MEMORY, "The secret '%.*s' could not be written (error %d).", (int)(equals - record), record, (int)-status);
        /* The file is the only copy from now on; the record stays one of the same length. */
        memset((char *)(uintptr_t)value, '*', strlen(value));
    }
}
INITCALL(INIT_FILES, write_secrets);
