#include "nano/program.h"

#include "hal/boot.h"
#include "hal/kernel.h"
#include "hal/string.h"
#include "nano/print.h"

HAL_NORETURN void program_fail(const char *format, ...) {
    char line[256];
    size_t length = hal_format(line, sizeof line, "fail ");
    va_list arguments;
    va_start(arguments, format);
    hal_vformat(line + length, sizeof line - length, format, arguments);
    va_end(arguments);
    kprintf("nano: %s\n", line + length);
    hal_control_send(line);
    hal_exit();
}

HAL_NORETURN void program_exit(int status) {
    char line[32];
    hal_format(line, sizeof line, "exit %d", status & 255);
    hal_control_send(line);
    hal_exit();
}

void program_start(void) {
    program_fail("There is no program loader yet.");
}
bool kernel_page_fault(uintptr_t address, bool write, bool execute) { (void)address; (void)write; (void)execute; return false; }
void kernel_user_fault(struct hal_frame *frame, uintptr_t address) { (void)frame; (void)address; }
