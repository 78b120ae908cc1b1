/* The initrd's tree, tmpfs, the descriptor table and the ELF loader. */
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "check.h"
#include "host.h"
#include "nano/elf.h"
#include "nano/errno.h"
#include "nano/file.h"
#include "nano/page.h"
#include "nano/vfs.h"
#include "nano/vm.h"

#define CALL(number, ...) call(number, (const uint64_t[6]){__VA_ARGS__})

static int64_t call(uint64_t number, const uint64_t *a) {
    return host_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

static char archive[65536];
static size_t archive_size;

static void add_entry(const char *name, uint32_t mode, const void *data, size_t size, bool aligned) {
    size_t name_size = strlen(name) + 1;
    while (aligned && (archive_size + 110 + name_size) % 4096)
        name_size++;
    int length = snprintf(archive + archive_size, sizeof archive - archive_size, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X", 1, mode, 0,
                          0, 1, 0, (unsigned)size, 0, 0, 0, 0, (unsigned)name_size, 0);
    EQUAL(length, 110);
    strcpy(archive + archive_size + 110, name);
    archive_size = (archive_size + 110 + name_size + 3) & ~(size_t)3;
    if (size)
        memcpy(archive + archive_size, data, size);
    archive_size = (archive_size + size + 3) & ~(size_t)3;
}

static uintptr_t scratch;

static uintptr_t text(const char *value) {
    EQUAL(copy_to_user(scratch, value, strlen(value) + 1), 0);
    return scratch;
}

static int64_t open_path(const char *path, unsigned flags) {
    return CALL(SYS_open, text(path), flags, 0600);
}

static void initrd(const char *large) {
    char got[16] = {0};
    int64_t fd = open_path("/etc/motd", O_RDONLY);
    CHECK(fd >= 0);
    EQUAL(CALL(SYS_read, (uint64_t)fd, scratch + 256, 100), 5);
    EQUAL(copy_from_user(got, scratch + 256, 5), 0);
    CHECK(memcmp(got, "hello", 5) == 0);
    EQUAL(CALL(SYS_close, (uint64_t)fd), 0);
    EQUAL(open_path("/etc/motd", O_RDWR), -EROFS);
    EQUAL(open_path("/etc/new", O_CREAT | O_WRONLY), -EROFS);
    EQUAL(open_path("/etc/motd/x", O_RDONLY), -ENOTDIR);
    CHECK(open_path("/link", O_RDONLY) >= 0);
    EQUAL(CALL(SYS_unlink, text("/etc/motd")), -EROFS);
    /* Mapped: whole aligned pages are lent, so no page is used up; the last, partial one is a copy with zeros behind. */
    fd = open_path("/large", O_RDONLY);
    size_t before = page_available();
    int64_t at = CALL(SYS_mmap, 0, 12288, PROT_READ, MAP_PRIVATE, (uint64_t)fd, 0);
    CHECK(at > 0);
    char bytes[12288];
    EQUAL(copy_from_user(bytes, (uintptr_t)at, 8192), 0);
    EQUAL(page_available(), before);
    EQUAL(copy_from_user(bytes, (uintptr_t)at, sizeof bytes), 0);
    CHECK(memcmp(bytes, large, 10000) == 0);
    for (size_t i = 10000; i < sizeof bytes; i++)
        EQUAL(bytes[i], 0);
    EQUAL(page_available(), before - 1);
    EQUAL(CALL(SYS_munmap, (uint64_t)at, 12288), 0);
    EQUAL(page_available(), before);
}

static void tmpfs(void) {
    size_t before = page_available();
    int64_t fd = open_path("/tmp/file", O_CREAT | O_RDWR);
    CHECK(fd >= 0);
    for (unsigned i = 0; i < 64; i++)
        EQUAL(CALL(SYS_pwrite64, (uint64_t)fd, scratch, 4096, i * 5000), 4096);
    CHECK(page_available() < before);
    EQUAL(CALL(SYS_rename, text("/tmp/file"), scratch), 0);
    EQUAL(CALL(SYS_unlink, text("/tmp/file")), 0);
    EQUAL(CALL(SYS_pread64, (uint64_t)fd, scratch, 100, 5000), 100);
    EQUAL(CALL(SYS_close, (uint64_t)fd), 0);
    EQUAL(page_available(), before);
    /* More than there is: -ENOSPC, and all of it comes back. */
    fd = open_path("/tmp/big", O_CREAT | O_RDWR);
    int64_t status = 0;
    for (uint64_t i = 0; status >= 0; i++)
        status = CALL(SYS_pwrite64, (uint64_t)fd, scratch, 4096, i * 4096);
    EQUAL(status, -ENOSPC);
    EQUAL(CALL(SYS_ftruncate, (uint64_t)fd, 0), 0);
    EQUAL(page_available(), before);
    EQUAL(CALL(SYS_unlink, text("/tmp/big")), 0);
    EQUAL(CALL(SYS_close, (uint64_t)fd), 0);
}

static void descriptors(void) {
    int64_t first = open_path("/dev/null", O_RDWR);
    for (unsigned i = 0; i < 5000; i++)
        EQUAL(CALL(SYS_dup, (uint64_t)first), first + 1 + i);
    for (unsigned i = 0; i < 5000; i += 2)
        EQUAL(CALL(SYS_close, (uint64_t)first + 1 + i), 0);
    EQUAL(CALL(SYS_dup, (uint64_t)first), first + 1);
    EQUAL(CALL(SYS_close, (uint64_t)first + 1), 0);
    EQUAL(CALL(SYS_close_range, (uint64_t)first, 65535), 0);
    EQUAL(CALL(SYS_close, (uint64_t)first), -EBADF);
}

/* What a mapping holds of a file that has no name and is not open may be the last of it. */
static void a_mapping_does_not_move_over_itself(void) {
    int64_t fd = open_path("/tmp", O_TMPFILE | O_RDWR);
    CHECK(fd >= 0);
    EQUAL(CALL(SYS_write, (uint64_t)fd, scratch, 4096), 4096);
    int64_t at = CALL(SYS_mmap, 0, 8192, PROT_READ, MAP_SHARED, (uint64_t)fd, 0);
    CHECK(at > 0);
    EQUAL(CALL(SYS_close, (uint64_t)fd), 0);
    EQUAL(CALL(SYS_mremap, (uint64_t)at, 8192, 8192, 3, (uint64_t)at), -EINVAL);
    EQUAL(CALL(SYS_mremap, (uint64_t)at, 8192, 8192, 3, (uint64_t)at + 4096), -EINVAL);
    EQUAL(CALL(SYS_mremap, (uint64_t)at, 4096, 8192, 3, (uint64_t)at - 4096), -EINVAL);
    EQUAL(CALL(SYS_mremap, (uint64_t)at, 4096, 4096, 3, (uint64_t)at - 4096), at - 4096);
    EQUAL(vm_unmap((uintptr_t)at - 4096, 12288), 0);
}

static void nothing_moves_into_a_folder_that_is_gone(void) {
    EQUAL(CALL(SYS_mkdir, text("/tmp/gone"), 0700), 0);
    int64_t folder = open_path("/tmp/gone", O_RDONLY), fd = open_path("/tmp/stays", O_CREAT | O_RDWR);
    CHECK(folder >= 0 && fd >= 0);
    EQUAL(CALL(SYS_rmdir, text("/tmp/gone")), 0);
    EQUAL(copy_to_user(scratch + 512, "new", 4), 0);
    EQUAL(CALL(SYS_renameat, 0, text("/tmp/stays"), (uint64_t)folder, scratch + 512), -ENOENT);
    EQUAL(CALL(SYS_unlink, text("/tmp/stays")), 0);
    EQUAL(CALL(SYS_close, (uint64_t)folder), 0);
    EQUAL(CALL(SYS_close, (uint64_t)fd), 0);
}

/* Whoever reserves tens of TiB has few pages in them; a call must not look for each that could be there. */
static void what_is_reserved_costs_nothing_to_change(void) {
    uint64_t size = 1ull << 46, touched[2] = {0, (1ull << 45) + 4096};
    int64_t fd = open_path("/tmp", O_TMPFILE | O_RDWR);
    CHECK(fd >= 0);
    EQUAL(CALL(SYS_ftruncate, (uint64_t)fd, size), 0);
    for (unsigned shared = 0; shared < 2; shared++) {
        unsigned flags = shared ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
        int64_t at = CALL(SYS_mmap, 0, size, PROT_READ | PROT_WRITE, flags, (uint64_t)fd, 0);
        CHECK(at > 0);
        EQUAL(copy_to_user((uintptr_t)at + touched[0], "one", 3), 0);
        EQUAL(shared ? 0 : copy_to_user((uintptr_t)at + touched[1], "two", 3), 0);
        EQUAL(CALL(SYS_mprotect, (uint64_t)at, size, PROT_READ), 0);
        for (unsigned i = 0; i < 2 - shared; i++)
            EQUAL(copy_to_user((uintptr_t)at + touched[i], "x", 1), -EFAULT);
        EQUAL(CALL(SYS_mprotect, (uint64_t)at, size, PROT_READ | PROT_WRITE), 0);
        /* A longer one must go elsewhere, and what is there goes along. */
        EQUAL(CALL(SYS_munmap, (uint64_t)at + size / 2 + 8192, size / 2 - 8192), 0);
        EQUAL(CALL(SYS_mmap, (uint64_t)at + size / 2 + 8192, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, 0, 0), at + (int64_t)(size / 2) + 8192);
        int64_t moved = CALL(SYS_mremap, (uint64_t)at, size / 2 + 8192, size / 2 + 12288, 1);
        CHECK(moved > 0 && moved != at);
        char got[3];
        EQUAL(copy_from_user(got, (uintptr_t)moved + touched[1 - shared], sizeof got), 0);
        CHECK(memcmp(got, shared ? "one" : "two", 3) == 0);
        EQUAL(shared ? CALL(SYS_ftruncate, (uint64_t)fd, 0) : 0, 0);
        EQUAL(copy_from_user(got, (uintptr_t)moved, sizeof got), shared ? -EFAULT : 0);
        EQUAL(vm_unmap((uintptr_t)at, size), 0);
        EQUAL(vm_unmap((uintptr_t)moved, size / 2 + 12288), 0);
    }
    EQUAL(CALL(SYS_close, (uint64_t)fd), 0);
}

static unsigned made;

static void make_files(void) {
    struct file *file;
    made++;
    EQUAL(vfs_open(NULL, "/tmp/nothing", O_RDONLY, 0, &file), -ENOENT); /* it is not called once more */
    EQUAL(vfs_write_file("/tmp/late", 0644, "late", 4), 4);
}

/* Each way to see it, from the beginning: it is not there before, and made by the first that could tell. */
static void a_late_file_is_made_when_it_could_be_seen_first(void) {
    for (unsigned way = 0; way < 6; way++) {
        made = 0;
        vfs_make_late(make_files);
        int64_t folder = open_path("/tmp", O_RDONLY | O_DIRECTORY), known = open_path("/etc/motd", O_RDONLY);
        CHECK(folder >= 0 && known >= 0);
        EQUAL(made, 0);
        int64_t fd = -1;
        switch (way) {
        case 0:
            fd = open_path("/tmp/late", O_RDONLY);
            CHECK(fd >= 0);
            break;
        case 1:
            fd = open_path("/tmp/late", O_RDWR | O_CREAT);
            CHECK(fd >= 0);
            EQUAL(CALL(SYS_lseek, (uint64_t)fd, 0, SEEK_END), 4);
            break;
        case 2:
            EQUAL(open_path("/tmp/late", O_RDWR | O_CREAT | O_EXCL), -EEXIST);
            break;
        case 3:
            EQUAL(CALL(SYS_mkdir, text("/tmp/late"), 0700), -EEXIST);
            break;
        case 4:
            EQUAL(CALL(SYS_unlink, text("/tmp/late")), 0);
            break;
        case 5: {
            char entries[512] = {0};
            int64_t size = CALL(SYS_getdents64, (uint64_t)folder, scratch + 512, sizeof entries);
            CHECK(size > 0);
            EQUAL(copy_from_user(entries, scratch + 512, (size_t)size), 0);
            bool listed = false;
            for (size_t at = 0; at + 5 <= sizeof entries; at++)
                listed = listed || memcmp(entries + at, "late", 5) == 0;
            CHECK(listed);
        }
        }
        EQUAL(made, 1);
        EQUAL(open_path("/tmp/nothing", O_RDONLY), -ENOENT);
        EQUAL(made, 1);
        EQUAL(CALL(SYS_unlink, text("/tmp/late")), way == 4 ? -ENOENT : 0);
        EQUAL(fd < 0 ? 0 : CALL(SYS_close, (uint64_t)fd), 0);
        EQUAL(CALL(SYS_close, (uint64_t)folder), 0);
        EQUAL(CALL(SYS_close, (uint64_t)known), 0);
    }
}

int main(void) {
    static char large[10000];
    for (size_t i = 0; i < sizeof large; i++)
        large[i] = (char)(i * 7);
    add_entry("etc", S_IFDIR | 0755, NULL, 0, false);
    add_entry("etc/motd", S_IFREG | 0644, "hello", 5, false);
    add_entry("link", S_IFLNK | 0777, "etc/motd", 8, false);
    add_entry("large", S_IFREG | 0644, large, sizeof large, true);
    add_entry("TRAILER!!!", 0, NULL, 0, false);
    host_start((size_t)4 << 20);
    host_set_initrd(archive, archive_size);
    vfs_init();
    vfs_mount_all();
    vm_init();
    int64_t page = vm_map(0, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE, NULL, 0, NULL);
    CHECK(page > 0);
    scratch = (uintptr_t)page;
    EQUAL(clear_user(scratch, 8192), 0);
    initrd(large);
    tmpfs();
    descriptors();
    a_mapping_does_not_move_over_itself();
    nothing_moves_into_a_folder_that_is_gone();
    a_late_file_is_made_when_it_could_be_seen_first();
    alarm(20);
    what_is_reserved_costs_nothing_to_change();
    return 0;
}
