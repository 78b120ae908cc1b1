/* The LZ4 decoder, the disk's faults, and a root filesystem on it. The first argument is a folder with erofs images. */
#include <string.h>

#include "../../../kernels/nano/disk/disk.h"
#include "../../../kernels/nano/disk/lz4.h"
#include "check.h"
#include "hal/clock.h"
#include "host.h"
#include "host_disk.h"
#include "nano/errno.h"
#include "nano/init.h"
#include "nano/page.h"
#include "nano/process.h"
#include "nano/program.h"
#include "nano/settings.h"
#include "nano/vfs.h"
#include "nano/vm.h"

struct output {
    uint8_t bytes[400000];
    size_t size, limit;
};

static struct output output;
static uint8_t window[LZ4_WINDOW];

static bool collect(void *context, const uint8_t *bytes, size_t size) {
    struct output *to = context;
    CHECK(size <= sizeof to->bytes - to->size);
    memcpy(to->bytes + to->size, bytes, size);
    to->size += size;
    return to->size < to->limit;
}

/* Decodes from a block of exactly the input's size, so that a read beyond it is seen. */
static int decode(const char *input, size_t input_size, size_t size) {
    uint8_t *copy = malloc(input_size ? input_size : 1);
    memcpy(copy, input, input_size);
    output.size = 0;
    output.limit = SIZE_MAX;
    int status = lz4_decode(copy, input_size, size, window, collect, &output);
    free(copy);
    return status;
}

static void lz4(void) {
    EQUAL(decode("\x50hello", 6, 5), 0);
    CHECK(output.size == 5 && memcmp(output.bytes, "hello", 5) == 0);
    /* "ab", then 10 bytes from 2 back. */
    EQUAL(decode("\x26"
                 "ab\x02\x00",
                 5, 12),
          0);
    CHECK(output.size == 12 && memcmp(output.bytes, "abababababab", 12) == 0);
    /* No more than was asked for, of literals and of a match. */
    EQUAL(decode("\x50hello", 6, 3), 0);
    EQUAL(output.size, 3);
    EQUAL(decode("\x26"
                 "ab\x02\x00",
                 5, 7),
          0);
    EQUAL(output.size, 7);
    /* One byte repeated beyond the window: 15 + 4 + 255 * 1200 + 1. */
    static char run[1300];
    memcpy(run, "\x1fz\x01\x00", 4);
    memset(run + 4, 0xff, 1200);
    run[1204] = 1;
    EQUAL(decode(run, 1205, 306021), 0);
    EQUAL(output.size, 306021);
    for (size_t i = 0; i < output.size; i++)
        EQUAL(output.bytes[i], 'z');
    /* Malformed: too short, a match before the begin, of distance 0, a length without its end. */
    EQUAL(decode("", 0, 1), -EIO);
    EQUAL(decode("\x50hell", 5, 5), -EIO);
    EQUAL(decode("\x50hello", 6, 6), -EIO);
    EQUAL(decode("\x26"
                 "ab\x03\x00",
                 5, 12),
          -EIO);
    EQUAL(decode("\x26"
                 "ab\x00\x00",
                 5, 12),
          -EIO);
    EQUAL(decode("\xf0\xff\xff", 3, 600), -EIO);
    EQUAL(decode("\x1fz\x01\x00\xff", 5, 600), -EIO);
}

static uint8_t image[65536];
static size_t image_size;

static void load(const char *folder, const char *name) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    CHECK(file && fgetc(file) == 0); /* the first byte is the fuzz target's own */
    image_size = fread(image, 1, sizeof image, file);
    CHECK(image_size > 4096 && image_size % 4096 == 0);
    fclose(file);
}

static struct host_disk disk;

/* A machine whose root is the image. */
static void start(size_t memory) {
    static const char settings[] = "schema=1\0root=rootfs,erofs";
    host_start(memory);
    host_set_initrd(NULL, 0);
    host_set_settings(settings, sizeof settings);
    host_disk_free(&disk);
    host_disk_create(&disk, "rootfs", image, image_size);
    vfs_init();
    settings_init();
}

static int64_t read_all(const char *path, uint64_t *size) {
    static char bytes[4096];
    struct node *node;
    int64_t got = vfs_lookup(NULL, path, 0, &node, NULL);
    *size = 0;
    while (got == 0 && (got = node_read_kernel(node, bytes, sizeof bytes, *size)) > 0) {
        *size += (uint64_t)got;
        got = 0;
        if (*size == node->size)
            break;
    }
    return got;
}

static void slow_disk(void) {
    uint64_t size, before = hal_clock_monotonic();
    start((size_t)4 << 20);
    disk.delay = 1000000;
    initcalls_run(INIT_ROOT);
    EQUAL(read_all("/link", &size), 0);
    EQUAL(size, 15000);
    CHECK(hal_clock_monotonic() - before >= 1000000ull * disk.requests);
    CHECK(disk.requests > 1 && disk.records[0].kind == HAL_BLK_READ && disk.records[0].sector == 0);
    unsigned requests = disk.requests;
    EQUAL(read_all("/a/b", &size), 0);
    EQUAL(disk.requests, requests); /* from the cache */
}

static void broken_disk(void) {
    uint64_t size;
    start((size_t)4 << 20);
    initcalls_run(INIT_ROOT);
    disk.fail_from = disk.requests + 1;
    EQUAL(read_all("/a/b", &size), -EIO);
    CHECK(strstr(host_console(), "nano: the disk 'rootfs' could not read ") != NULL);
    disk.fail_from = 0;
    EQUAL(read_all("/a/b", &size), 0); /* an error is not kept */
    EQUAL(size, 15000);
}

static void silent_disk(void) {
    uint64_t size, before = hal_clock_monotonic();
    start((size_t)4 << 20);
    initcalls_run(INIT_ROOT);
    unsigned requests = disk.requests;
    disk.silent_from = requests + 1;
    process.threads = 1; /* without a program the machine would end */
    EQUAL(read_all("/a/b", &size), -EIO);
    EQUAL(hal_clock_monotonic() - before, DISK_TIMEOUT);
    static bool lost; /* the first device that is lost counts, in all kinds together */
    CHECK(lost || strstr(host_console(), "nano: The disk 'rootfs' has not answered for 30 seconds. The program is asked to end.\n") != NULL);
    EQUAL(read_all("/zeros", &size), -EIO); /* at once */
    EQUAL(disk.requests, requests + 1);
    process.threads = 0;
    if (lost)
        return;
    lost = true;
    /* A program that does not end is not waited for. */
    host_catches = true;
    int ended = setjmp(host_end);
    if (ended == 0)
        host_run_until(hal_clock_monotonic() + 11000000000u);
    host_catches = false;
    EQUAL(ended, 1);
    EQUAL(host_exit_code(), FAIL_DEVICE);
    CHECK(strstr(host_control(), "fail The disk 'rootfs' has not answered for 30 seconds.\n") != NULL);
}

/* More of a file is mapped than there is memory: pages are taken back, also mapped ones, and come again. */
static void little_memory(void) {
    start((size_t)1 << 20);
    initcalls_run(INIT_ROOT);
    vm_init();
    struct node *node;
    EQUAL(vfs_lookup(NULL, "/zeros", 0, &node, NULL), 0);
    int64_t at[8];
    for (unsigned i = 0; i < 8; i++) {
        at[i] = vm_map(0, node->size, PROT_READ | PROT_WRITE, MAP_PRIVATE, node, 0, NULL);
        CHECK(at[i] > 0);
    }
    size_t filler = 0;
    void *pages[256];
    while (page_available() > 40)
        pages[filler++] = page_alloc(0);
    for (unsigned round = 0; round < 3; round++)
        for (uint64_t byte = 0; byte < node->size; byte += 1000) {
            char value = 1;
            EQUAL(copy_from_user(&value, (uintptr_t)at[byte % 8] + byte, 1), 0);
            EQUAL(value, 0);
        }
    for (unsigned i = 0; i < 8; i++)
        EQUAL(vm_unmap((uintptr_t)at[i], node->size), 0);
    while (filler > 0)
        page_free(pages[--filler], 0);
}

int main(int count, char **arguments) {
    static const char *const kinds[] = {"lz4hc", "clusters", "old-index"};
    CHECK(count == 2);
    lz4();
    for (unsigned i = 0; i < 3; i++) {
        load(arguments[1], kinds[i]);
        slow_disk();
        broken_disk();
        silent_disk();
        little_memory();
    }
    return 0;
}
