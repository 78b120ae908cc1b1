/*
 * The part `jit`: programs that make code at run time in memory that is writable and executable. Even then no page is
 * both at once (vm_pages.c).
 */
#include "nano/init.h"
#include "nano/vm.h"

static void jit_init(void) {
    vm_write_and_execute = true;
}
INITCALL(INIT_CORE, jit_init);
