/*
 * Trees of files in memory: the root from the initrd (cpio newc, Linux Documentation/driver-api/early-userspace/
 * buffer-format.rst), read-only, its bytes used where they lie; and tmpfs.
 */
#include "hal/string.h"
#include "nano/errno.h"
#include "nano/heap.h"
#include "nano/page.h"
#include "nano/program.h"
#include "nano/thread.h"
#include "nano/vfs.h"
#include "nano/vm.h"

#define HEADER_SIZE 110
#define PROGRAM_RESERVE 64 /* pages that files in tmpfs leave: the program's own memory comes first */

static struct filesystem initrd_filesystem = {"rootfs", 1, 0x858458f6, true, 0};

static int64_t initrd_read(struct node *node, struct iter *to, uint64_t offset) {
    if (offset >= node->size)
        return 0;
    size_t size = node->size - offset < to->left ? node->size - offset : to->left;
    size_t done = iter_put(to, (const char *)node->data + offset, size);
    return done || !size ? (int64_t)done : -EFAULT;
}

static void *initrd_resident(struct node *node, uint64_t index) {
    const char *data = (const char *)node->data + index * PAGE_SIZE;
    return ((uintptr_t)data & HAL_PAGE_MASK) == 0 && index < node->size / PAGE_SIZE ? (void *)data : NULL;
}

/* A whole page that lies on a page boundary is lent; the last part of a file, and what is not aligned, is copied. */
static int initrd_page(struct node *node, uint64_t index, bool write, void **page, bool *borrowed) {
    (void)write;
    uint64_t offset = index * PAGE_SIZE;
    if (offset >= node->size)
        return -EFAULT;
    const char *data = (const char *)node->data + offset;
    size_t left = node->size - offset;
    *page = initrd_resident(node, index);
    *borrowed = *page != NULL;
    if (*borrowed)
        return 0;
    char *copy = page_alloc(0);
    if (!copy)
        return -ENOMEM;
    left = left < PAGE_SIZE ? left : PAGE_SIZE;
    memcpy(copy, data, left);
    memset(copy + left, 0, PAGE_SIZE - left);
    *page = copy;
    return 0;
}

static const struct node_ops initrd_ops = {.read = initrd_read, .page = initrd_page, .resident = initrd_resident};

static bool hex(const char *digits, uint64_t *value) {
    *value = 0;
    for (unsigned i = 0; i < 8; i++) {
        char c = digits[i];
        unsigned digit = c >= '0' && c <= '9' ? (unsigned)(c - '0') : (c | 32) >= 'a' && (c | 32) <= 'f' ? (unsigned)((c | 32) - 'a') + 10 : 16;
        if (digit == 16)
            return false;
        *value = *value << 4 | digit;
    }
    return true;
}

/* Adds one entry; folders that have no entry of their own are made. */
static bool add(struct node *root, const char *path, uint32_t mode, int64_t mtime, const void *data, uint64_t size) {
    struct node *at = root;
    for (;;) {
        while (*path == '/' || (path[0] == '.' && (path[1] == '/' || path[1] == '\0')))
            path++;
        size_t length = 0;
        while (path[length] && path[length] != '/')
            length++;
        if (length == 0) {
            at->mode = (mode & S_IFMT) == S_IFDIR ? mode : at->mode;
            return true;
        }
        if (length > NAME_MAX || (length == 2 && path[0] == '.' && path[1] == '.'))
            return false;
        struct node *child = node_child(at, path, length);
        const char *rest = path + length;
        while (*rest == '/')
            rest++;
        bool last = !*rest;
        if (child && (child->mode & S_IFMT) != S_IFDIR)
            return false;
        if (!child) {
            child = node_create(&initrd_filesystem, &initrd_ops, path, length, last ? mode : S_IFDIR | 0755);
            if (!child)
                program_fail(FAIL_MEMORY, "The machine has too little memory for the list of the root filesystem's files.");
            child->complete = true;
            child->modified = child->changed = child->accessed = mtime * 1000000000;
            node_attach(at, child);
            if (last && (mode & S_IFMT) == S_IFREG) {
                child->data = data;
                child->size = size;
            } else if (last && (mode & S_IFMT) == S_IFLNK) {
                char *target = kmalloc(size + 1);
                if (!target)
                    program_fail(FAIL_MEMORY, "The machine has too little memory for the list of the root filesystem's files.");
                memcpy(target, data, size);
                target[size] = '\0';
                child->data = target;
                child->size = size;
            }
        }
        at = child;
        path += length;
    }
}

struct node *initrd_create_root(const void *archive, size_t size) {
    struct node *root = node_create(&initrd_filesystem, &initrd_ops, "", 0, S_IFDIR | 0755);
    if (!root)
        program_fail(FAIL_MEMORY, "The machine has too little memory.");
    root->complete = true;
    const char *bytes = archive;
    for (size_t at = 0; bytes && at + HEADER_SIZE <= size;) {
        const char *header = bytes + at;
        uint64_t mode, mtime, file_size, name_size;
        if (memcmp(header, "070701", 6) != 0 && memcmp(header, "070702", 6) != 0)
            program_fail(FAIL_ARCHIVE, "The root filesystem's archive is damaged: no cpio header at byte %lu.", at);
        if (!hex(header + 14, &mode) || !hex(header + 46, &mtime) || !hex(header + 54, &file_size) || !hex(header + 94, &name_size))
            program_fail(FAIL_ARCHIVE, "The root filesystem's archive is damaged: the header at byte %lu has a field that is no number.", at);
        size_t data = (at + HEADER_SIZE + name_size + 3) & ~(size_t)3;
        const char *name = header + HEADER_SIZE;
        if (name_size == 0 || data > size || file_size > size - data)
            program_fail(FAIL_ARCHIVE, "The root filesystem's archive is truncated: the entry at byte %lu reaches beyond its end.", at);
        /* A name may be padded with more than one NUL, so that the data begins on a page. */
        if (name[name_size - 1] != '\0')
            program_fail(FAIL_ARCHIVE, "The root filesystem's archive is damaged: the name at byte %lu has no end.", at);
        if (strcmp(name, "TRAILER!!!") == 0)
            return root;
        uint32_t type = (uint32_t)mode & S_IFMT;
        if ((type == S_IFDIR || type == S_IFREG || (type == S_IFLNK && file_size > 0 && file_size < PATH_MAX)) &&
            !add(root, name, (uint32_t)mode, (int64_t)mtime, bytes + data, file_size))
            program_fail(FAIL_ARCHIVE, "The root filesystem's archive is damaged: the entry at byte %lu has a name that cannot be.", at);
        at = (data + file_size + 3) & ~(size_t)3;
    }
    if (size)
        program_fail(FAIL_ARCHIVE, "The root filesystem's archive is truncated: it has no last entry.");
    return root;
}

/* tmpfs: `private_data` is an array of page pointers, NULL where nothing was written. */
static struct filesystem tmpfs_filesystem = {"tmpfs", 2, 0x01021994, false, 0};

/* A copy may block. Until it has ended, the pages of its file are not freed: who cuts the file waits here. */
static struct waitq copied = WAITQ_INIT(copied);

static size_t copy(struct node *node, struct iter *iter, void *page, size_t size, size_t (*move)(struct iter *, void *, size_t)) {
    node->copies++;
    size_t done = move(iter, page, size);
    if (--node->copies == 0)
        waitq_wake(&copied, 0);
    return done;
}

static size_t put(struct iter *to, void *page, size_t size) {
    return iter_put(to, page, size);
}

static void wait_for_copies(const struct node *node) {
    struct thread_waiter waiter;
    if (!node->copies)
        return;
    thread_waiter_init(&waiter);
    waitq_add(&copied, &waiter.waiter);
    while (node->copies)
        thread_block(HAL_FOREVER, false);
    waitq_remove(&waiter.waiter);
}

static void **tmpfs_slot(struct node *node, uint64_t index, bool make) {
    size_t room = node->private_data ? kmalloc_size(node->private_data) / sizeof(void *) : 0;
    if (index >= room) {
        if (!make)
            return NULL;
        size_t want = room ? room : 8;
        while (want <= index)
            want *= 2;
        void **grown = index < (1ull << 32) ? krealloc(node->private_data, want * sizeof(void *)) : NULL;
        if (!grown)
            return NULL;
        size_t now = kmalloc_size(grown) / sizeof(void *);
        memset(grown + room, 0, (now - room) * sizeof(void *));
        node->private_data = grown;
    }
    return (void **)node->private_data + index;
}

static int64_t tmpfs_read(struct node *node, struct iter *to, uint64_t offset) {
    int64_t total = 0;
    while (to->left && offset < node->size) {
        void **slot = tmpfs_slot(node, offset / PAGE_SIZE, false);
        size_t within = offset & HAL_PAGE_MASK, now = PAGE_SIZE - within;
        now = now < to->left ? now : to->left;
        now = now < node->size - offset ? now : node->size - offset;
        size_t done = slot && *slot ? copy(node, to, (char *)*slot + within, now, put) : iter_zero(to, now);
        total += (int64_t)done;
        offset += done;
        if (done < now)
            return total ? total : -EFAULT;
    }
    return total;
}

static int64_t tmpfs_write(struct node *node, struct iter *from, uint64_t offset) {
    int64_t total = 0;
    if (from->left && offset > INT64_MAX - from->left)
        return -EFBIG;
    while (from->left) {
        void **slot = tmpfs_slot(node, offset / PAGE_SIZE, true);
        if (slot && !*slot) {
            while (page_available() <= PROGRAM_RESERVE && page_shrink())
                ;
            *slot = page_available() > PROGRAM_RESERVE ? page_alloc_zeroed() : NULL;
        }
        if (!slot || !*slot)
            return total ? total : -ENOSPC;
        size_t within = offset & HAL_PAGE_MASK, now = PAGE_SIZE - within;
        now = now < from->left ? now : from->left;
        size_t done = copy(node, from, (char *)*slot + within, now, iter_get);
        total += (int64_t)done;
        offset += done;
        if (offset > node->size)
            node->size = offset;
        if (done < now)
            return total ? total : -EFAULT;
    }
    return total;
}

static void tmpfs_drop(struct node *node, uint64_t from) {
    size_t room = node->private_data ? kmalloc_size(node->private_data) / sizeof(void *) : 0;
    void **pages = node->private_data;
    for (uint64_t i = from; i < room; i++)
        if (pages[i]) {
            page_free(pages[i], 0);
            pages[i] = NULL;
        }
}

static int tmpfs_truncate(struct node *node, uint64_t size) {
    if (size < node->size) {
        wait_for_copies(node);
        uint64_t pages = (size + HAL_PAGE_MASK) / PAGE_SIZE;
        vm_cut_node(node, pages);
        tmpfs_drop(node, pages);
        void **slot = tmpfs_slot(node, size / PAGE_SIZE, false);
        if (size & HAL_PAGE_MASK && slot && *slot)
            memset((char *)*slot + (size & HAL_PAGE_MASK), 0, PAGE_SIZE - (size & HAL_PAGE_MASK));
    }
    node->size = size;
    return 0;
}

static int tmpfs_page(struct node *node, uint64_t index, bool write, void **page, bool *borrowed) {
    (void)write;
    void **slot = tmpfs_slot(node, index, true);
    if (slot && !*slot)
        *slot = page_alloc_zeroed();
    if (!slot || !*slot)
        return -ENOMEM;
    *page = *slot;
    *borrowed = true;
    return 0;
}

static int tmpfs_create(struct node *directory, struct node *child) {
    (void)directory;
    (void)child;
    return 0;
}

static int tmpfs_rename(struct node *child, struct node *directory, const char *name) {
    (void)child;
    (void)directory;
    (void)name;
    return 0;
}

static void tmpfs_free(struct node *node) {
    if ((node->mode & S_IFMT) == S_IFLNK) {
        kfree((void *)node->data);
    } else if ((node->mode & S_IFMT) == S_IFREG) {
        tmpfs_drop(node, 0);
        kfree(node->private_data);
    }
}

const struct node_ops tmpfs_ops = {.create = tmpfs_create,
                                   .remove = tmpfs_create,
                                   .rename = tmpfs_rename,
                                   .read = tmpfs_read,
                                   .write = tmpfs_write,
                                   .truncate = tmpfs_truncate,
                                   .page = tmpfs_page,
                                   .free = tmpfs_free};

struct node *tmpfs_create_root(const char *name) {
    struct node *root = node_create(&tmpfs_filesystem, &tmpfs_ops, name, strlen(name), S_IFDIR | 0755);
    if (root) {
        root->complete = true;
        root->modified = root->changed = root->accessed = vfs_now();
    }
    return root;
}
