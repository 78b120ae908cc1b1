#define _GNU_SOURCE 1
#include "report.h"

#include "mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/io.h>
#include <sys/reboot.h>
#include <termios.h>
#include <unistd.h>

enum { PORT_DEBUG_EXIT = 0x501 };

static int control = -1;

/* Bytes as they are, no echo, no signals, as fast as the UART goes. False where no UART answers. */
static bool make_raw(int fd)
{
    struct termios mode;
    if (tcgetattr(fd, &mode) != 0)
        return false;
    cfmakeraw(&mode);
    cfsetspeed(&mode, B115200);
    mode.c_cflag |= CLOCAL | CREAD;
    return tcsetattr(fd, TCSANOW, &mode) == 0;
}

void report_open_console(void)
{
    int fd = open("/dev/console", O_RDWR | O_NOCTTY);
    if (fd < 0)
        fd = open("/dev/null", O_RDWR); /* there is nobody to tell, and nobody types */
    if (fd < 0)
        return;
    make_raw(fd);
    for (int i = 0; i < 3; i++)
        if (fd != i)
            dup2(fd, i);
    if (fd > 2)
        close(fd);
}

void report_open_control(void)
{
    /* The 8250 driver offers nodes for UARTs that do not exist; these accept no settings or no byte. */
    int fd = open("/dev/ttyS1", O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    if (fd >= 0 && make_raw(fd) && write(fd, "", 0) == 0) {
        control = fd;
        return;
    }
    if (fd >= 0)
        close(fd);
}

int report_control(void)
{
    return control;
}

static void write_all(int fd, const char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t done = write(fd, bytes, size);
        if (done < 0 && errno == EAGAIN) {
            if (tcdrain(fd) != 0)
                return;
            continue;
        }
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return;
        bytes += done;
        size -= (size_t)done;
    }
}

/* Formats into `line` (CONTROL_LINE bytes) as one line with its '\n'; returns its length. */
static size_t make_line(char *line, const char *prefix, const char *format, va_list arguments)
{
    int used = snprintf(line, CONTROL_LINE, "%s", prefix);
    vsnprintf(line + used, (size_t)(CONTROL_LINE - used), format, arguments);
    size_t length = strnlen(line, CONTROL_LINE - 1);
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)line[i] < 0x20)
            line[i] = ' ';
    line[length] = '\n';
    return length + 1;
}

void say(const char *format, ...)
{
    char line[CONTROL_LINE];
    va_list arguments;
    va_start(arguments, format);
    write_all(STDERR_FILENO, line, make_line(line, "rumpel: ", format, arguments));
    va_end(arguments);
}

void tell(const char *format, ...)
{
    char line[CONTROL_LINE];
    va_list arguments;
    if (control < 0)
        return;
    va_start(arguments, format);
    write_all(control, line, make_line(line, "", format, arguments));
    va_end(arguments);
}

void fail(const char *format, ...)
{
    char line[CONTROL_LINE];
    va_list arguments;
    va_start(arguments, format);
    size_t length = make_line(line, "", format, arguments);
    va_end(arguments);
    line[length - 1] = '\0';
    say("%s", line);
    unmount_volumes();
    tell("fail %s", line);
    end_machine();
}

void end_machine(void)
{
    sync();
    tcdrain(STDERR_FILENO);
    if (control >= 0)
        tcdrain(control);
    if (iopl(3) == 0)
        outb(0, PORT_DEBUG_EXIT);
    /* No isa-debug-exit. Without ACPI a power-off would halt for ever; a restart ends QEMU under -no-reboot. */
    reboot(access("/proc/acpi", F_OK) == 0 ? RB_POWER_OFF : RB_AUTOBOOT);
    _exit(1); /* the kernel panics when init ends, and restarts */
}
