/* Any bytes as the settings of the host. */
#include "fuzz.h"
#include "nano/settings.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const keys[] = {"program", "arg", "env", "hostname", "net", "volume", "clock"};
    static bool started;
    if (!started) {
        host_start((size_t)8 << 20);
        vfs_init();
        vfs_mount_all();
        started = true;
    }
    host_clear_output();
    host_set_settings(data, size);
    RUN({
        settings_init();
        size_t length = 0;
        for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
            const char *value;
            for (size_t n = 0; (value = settings_each(keys[i], n)); n++)
                length += strlen(value);
            settings_get(keys[i]);
        }
        if (length > size + strlen("PATH=/usr/local/bin:/usr/bin:/bin") + strlen("HOME=/tmp")) /* which are there without being said */
            abort();
    });
    return 0;
}
