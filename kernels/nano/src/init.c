#include "nano/init.h"

extern const struct initcall initcalls_begin[], initcalls_end[];

void initcalls_run(enum init_stage stage) {
    for (const struct initcall *call = initcalls_begin; call < initcalls_end; call++)
        if (call->stage == stage)
            call->run();
}
