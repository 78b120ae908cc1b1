#include "nano/signal.h"

bool signal_wanted(const struct thread *thread) {
    return (thread->pending & ~thread->blocked) != 0;
}

void signal_deliver(struct hal_frame *frame) {
    (void)frame;
}
