#include "hal/boot.h"
#include "hal/driver.h"
#include "hal/kernel.h"
#include "nano/init.h"
#include "nano/page.h"
#include "nano/program.h"
#include "nano/random.h"
#include "nano/settings.h"
#include "nano/syscall.h"
#include "nano/thread.h"
#include "nano/vfs.h"

void kernel_main(void) {
    page_init();
    hal_memory_ready();
    thread_init();
    syscall_init();
    initcalls_run(INIT_CORE);
    hal_drivers_start();
    random_init();
    random_set_canary(); /* this function never returns, so its own canary is never looked at */
    initcalls_run(INIT_DEVICES);
    vfs_init();
    settings_init();
    initcalls_run(INIT_ROOT);
    vfs_mount_all();
    initcalls_run(INIT_FILES);
    program_start();
    thread_exit();
}
