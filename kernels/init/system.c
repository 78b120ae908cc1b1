#define _GNU_SOURCE 1
#include "system.h"

#include "deadline.h"
#include "report.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { OPEN_FILES = 65536, SEED_BYTES = 32, SEED_DEADLINE_MS = 1000 };

/* The argument of RNDADDENTROPY, random(4). */
struct seed {
    int bits;
    int size;
    unsigned char bytes[SEED_BYTES];
};

void set_up_system(const struct settings *settings)
{
    struct timespec now;

    if (settings->hostname != NULL && sethostname(settings->hostname, strlen(settings->hostname)) != 0)
        fail("The host name '%s' could not be set: %s.", settings->hostname, strerror(errno));
    if (settings->clock != 0) {
        clock_gettime(CLOCK_REALTIME, &now);
        now.tv_sec += settings->clock;
        if (clock_settime(CLOCK_REALTIME, &now) != 0)
            fail("The clock could not be moved by %lld seconds: %s.", (long long)settings->clock, strerror(errno));
    }
    if (setrlimit(RLIMIT_NOFILE, &(struct rlimit){OPEN_FILES, OPEN_FILES}) != 0)
        fail("The limit of open files could not be raised: %s.", strerror(errno));
}

/* Reads until the seed is full; false where the device does not give it within the deadline. */
static bool read_seed(int fd, struct seed *seed)
{
    for (int64_t end = now_ms() + SEED_DEADLINE_MS; now_ms() < end;) {
        ssize_t size = read(fd, seed->bytes + seed->size, sizeof seed->bytes - (size_t)seed->size);
        if (size > 0)
            seed->size += (int)size;
        if (seed->size == SEED_BYTES)
            return true;
        if (size > 0)
            continue;
        if (size == 0 || (errno != EAGAIN && errno != EINTR))
            return false;
        pause_ms(1);
    }
    return false;
}

void seed_random(void)
{
    struct seed seed = {0};
    unsigned char byte;

    if (getrandom(&byte, 1, GRND_NONBLOCK) == 1)
        return; /* the kernel has seeded itself */
    int source = open("/dev/hwrng", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (source < 0)
        return; /* no entropy device in the plan */
    int pool = open("/dev/urandom", O_WRONLY | O_CLOEXEC);
    if (read_seed(source, &seed)) {
        seed.bits = SEED_BYTES * 8;
        if (ioctl(pool, _IOW('R', 0x03, int[2]), &seed) != 0)
            say("The random number generator could not be seeded: %s.", strerror(errno));
    } else {
        say("The entropy device gave no random numbers within a second.");
    }
    explicit_bzero(&seed, sizeof seed);
    close(source);
    close(pool);
}

static bool read_hexadecimal(const char *digits, unsigned char *bytes, size_t size)
{
    static const char ALPHABET[] = "0123456789abcdef";

    for (size_t i = 0; i < 2 * size; i++) {
        const char *digit = digits[i] != '\0' ? strchr(ALPHABET, digits[i]) : NULL;
        if (digit == NULL)
            return false;
        bytes[i / 2] = (unsigned char)(bytes[i / 2] << 4 | (digit - ALPHABET));
    }
    return digits[2 * size] == '\0';
}

bool renew_system(const char *words)
{
    struct seed seed = {.bits = SEED_BYTES * 8, .size = SEED_BYTES};
    char *rest = NULL;

    errno = 0;
    long long ns = *words >= '0' && *words <= '9' ? strtoll(words, &rest, 10) : -1;
    if (ns < 0 || errno != 0 || *rest != ' ' || !read_hexadecimal(rest + 1, seed.bytes, sizeof seed.bytes))
        return false;
    int pool = open("/dev/urandom", O_WRONLY | O_CLOEXEC);
    if (ioctl(pool, _IOW('R', 0x03, int[2]), &seed) != 0 || ioctl(pool, _IO('R', 0x07)) != 0) /* RNDRESEEDCRNG */
        say("The random number generator could not be seeded anew: %s.", strerror(errno));
    explicit_bzero(&seed, sizeof seed);
    close(pool);
    if (clock_settime(CLOCK_REALTIME, &(struct timespec){ns / 1000000000, ns % 1000000000}) != 0)
        say("The clock could not be set: %s.", strerror(errno));
    return true;
}
