#include "nano/print.h"

#include "hal/log.h"
#include "hal/string.h"

void kprintf(const char *format, ...) {
    char line[512];
    va_list arguments;
    va_start(arguments, format);
    size_t length = hal_vformat(line, sizeof line, format, arguments);
    va_end(arguments);
    hal_log(line, length < sizeof line ? length : sizeof line - 1);
}
