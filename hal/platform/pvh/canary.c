/*
 * What the compiler's stack protector asks for (GCC's manual, -fstack-protector, -mstack-protector-guard=global). A file
 * of its own, which takes no part in the link-time optimization: only there do the compiler's own calls appear.
 */
#include "hal/boot.h"

HAL_NORETURN void __stack_chk_fail(void);
HAL_NORETURN void __stack_chk_fail(void) {
    hal_panic("A stack canary of the kernel was overwritten.");
}
uintptr_t __stack_chk_guard = 0x5bd1e995c3a7f00d; /* replaced by randomness before the first thread runs */
