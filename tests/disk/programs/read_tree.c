/* Prints every file below the root's /data: kind, size, and a checksum of what read, pread backwards and a mapping give. */
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static void fail(const char *what, const char *path) {
    printf("%s: ", path);
    fflush(stdout);
    perror(what);
    exit(1);
}

static uint64_t add(uint64_t sum, const unsigned char *bytes, size_t size) {
    for (size_t i = 0; i < size; i++)
        sum = (sum ^ bytes[i]) * 0x100000001b3;
    return sum;
}

static void regular(const char *path, size_t size) {
    static unsigned char buffer[9000], last[4096];
    uint64_t sum = 0xcbf29ce484222325;
    int fd = open(path, O_RDONLY);
    if (fd < 0)
        fail("open", path);
    /* From the end first, so that no page is there because of the one before it. */
    for (size_t at = size; at > 0;) {
        size_t part = at % sizeof last ? at % sizeof last : sizeof last;
        at -= part;
        if (pread(fd, last, part, (off_t)at) != (ssize_t)part)
            fail("pread", path);
    }
    ssize_t got;
    while ((got = read(fd, buffer, sizeof buffer)) > 0)
        sum = add(sum, buffer, (size_t)got);
    if (got < 0)
        fail("read", path);
    if (size) {
        unsigned char *bytes = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (bytes == MAP_FAILED)
            fail("mmap", path);
        if (add(0xcbf29ce484222325, bytes, size) != sum)
            printf("%s: the mapping differs\n", path);
        if (memcmp(bytes, last, size < sizeof last ? size : sizeof last) != 0)
            printf("%s: what was read from the end differs\n", path);
        munmap(bytes, size);
    }
    close(fd);
    printf("%s file %zu %016" PRIx64 "\n", path, size, sum);
}

static void visit(const char *path) {
    struct stat status;
    if (lstat(path, &status) != 0)
        fail("lstat", path);
    if (S_ISLNK(status.st_mode)) {
        char target[4096] = {0};
        if (readlink(path, target, sizeof target - 1) < 0)
            fail("readlink", path);
        printf("%s link %s\n", path, target);
    } else if (S_ISREG(status.st_mode)) {
        regular(path, (size_t)status.st_size);
    } else {
        struct dirent **names;
        int count = scandir(path, &names, NULL, alphasort);
        if (count < 0)
            fail("scandir", path);
        printf("%s folder %d\n", path, count - 2);
        for (int i = 0; i < count; i++) {
            char child[4096];
            if (strcmp(names[i]->d_name, ".") == 0 || strcmp(names[i]->d_name, "..") == 0)
                continue;
            snprintf(child, sizeof child, "%s/%s", path, names[i]->d_name);
            visit(child);
        }
    }
}

int main(void) {
    struct stat status;
    visit("/data");
    if (stat("/data/missing", &status) == 0 || open("/data/new", O_CREAT | O_WRONLY, 0600) >= 0)
        printf("the disk is not as it should be\n");
    FILE *file = fopen("/tmp/new", "w");
    if (!file || fputs("x", file) < 0 || fclose(file) != 0)
        perror("/tmp/new");
    return 0;
}
