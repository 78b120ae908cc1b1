/*
 * What the fuzz targets share: a fresh machine for each input.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdlib.h>
#include <string.h>

#include "host.h"
#include "nano/file.h"
#include "nano/process.h"
#include "nano/thread.h"
#include "nano/vfs.h"
#include "nano/vm.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A machine of 8 MiB; every end of it (exit, fail) goes on behind RUN. A panic is a bug and ends the process. */
#define RUN(code)                     \
    do {                              \
        host_catches = true;          \
        int end_ = setjmp(host_end);  \
        if (end_ == 0) {              \
            code;                     \
        }                             \
        host_catches = false;         \
        if (end_ == 2)                \
            abort();                  \
    } while (0)

#endif
