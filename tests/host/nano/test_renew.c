/* A copy of a machine takes the time and the seed that it is given, and nothing else that is said in this form. */
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "hal/kernel.h"
#include "host.h"
#include "nano/random.h"
#include "nano/vfs.h"

#define MOMENT 1800000000123456789
#define SEED "00112233445566778899aabbccddeeff0123456789abcdef0123456789abcdef"

struct seen {
    uint64_t random;
    int64_t now;
    char control[64];
};

/* What a machine is like that was told `line`. In a process of its own: all of them begin alike. */
static struct seen after(const char *line) {
    struct seen *seen = mmap(NULL, sizeof *seen, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0), copy;
    int status;
    CHECK(seen != MAP_FAILED);
    if (fork() == 0) {
        kernel_control(line);
        *seen = (struct seen){.random = random_u64(), .now = vfs_now()};
        strncpy(seen->control, host_control(), sizeof seen->control - 1);
        _exit(0);
    }
    CHECK(wait(&status) > 0 && status == 0);
    copy = *seen;
    munmap(seen, sizeof *seen);
    return copy;
}

static void refused(const char *line) {
    struct seen untouched = after("nothing"), seen = after(line);
    CHECK(seen.random == untouched.random);
    EQUAL(seen.now, untouched.now);
    EQUAL(strlen(seen.control), 0);
}

int main(void) {
    host_start((size_t)8 << 20);
    host_clear_output();
    struct seen untouched = after("nothing"), seen = after("renew 1800000000123456789 " SEED);
    CHECK(untouched.random == after("nothing").random);
    EQUAL(seen.now, MOMENT);
    CHECK(strcmp(seen.control, "renewed\n") == 0);
    CHECK(seen.random != untouched.random);
    CHECK(seen.random == after("renew 1800000000123456789 " SEED).random);
    /* One bit of the seed changes everything that follows. */
    CHECK(seen.random != after("renew 1 00112233445566778899aabbccddeeff0123456789abcdef0123456789abcdee").random);
    refused("renew");
    refused("renew ");
    refused("renew " SEED);
    refused("renew 18000000001234567890 " SEED); /* 20 digits */
    refused("renew 9999999999999999999 " SEED);  /* above INT64_MAX */
    refused("renew -1 " SEED);
    refused("renew 1 00112233");
    refused("renew 1 " SEED "00");
    refused("renew 1 " SEED " ");
    refused("renew 1  " SEED);
    refused("renew 1 00112233445566778899AABBCCDDEEFF0123456789abcdef0123456789abcdef");
    return 0;
}
