/*
 * Bytes of files, by the page cache. One thread at a time reads from the disk; what it decodes beyond the page that was
 * asked for is kept where there is memory.
 */
#include "cache.h"
#include "erofs.h"
#include "hal/string.h"
#include "lz4.h"
#include "nano/errno.h"
#include "nano/heap.h"
#include "nano/thread.h"

#define AHEAD ((size_t)32 << 10) /* read at once of what is not compressed */
#define FURTHER ((uint64_t)128 << 10) /* decoded beyond the page that was asked for */
#define MAX_LENGTH ((uint32_t)1 << 20) /* of a compressed piece */

static struct disk *disk;
static uint8_t *raw, *packed, *window; /* AHEAD, packed_room and LZ4_WINDOW bytes */
static size_t packed_room;
static bool locked;
static struct waitq unlocked;

void erofs_lock(void) {
    struct thread_waiter waiter;
    if (locked) {
        thread_waiter_init(&waiter);
        waitq_add(&unlocked, &waiter.waiter);
        while (locked)
            thread_block(HAL_FOREVER, false);
        waitq_remove(&waiter.waiter);
    }
    locked = true;
}

void erofs_unlock(void) {
    locked = false;
    waitq_wake(&unlocked, 0);
}

int erofs_start(struct disk *from) {
    disk = from;
    locked = false;
    waitq_init(&unlocked);
    /* A machine comes here once; a process with one machine after the other keeps the buffers. */
    if (!raw)
        raw = kmalloc(AHEAD);
    if (!window)
        window = kmalloc(LZ4_WINDOW);
    return raw && window ? cache_init() : -ENOMEM;
}

/* Whether what follows can be kept: at most as much as the memory is not needed for. */
static struct cache_page *find_or_make(struct node *node, uint64_t index, bool wanted) {
    struct cache_page *page = cache_find(node, index);
    return page || !(wanted || cache_has_room()) ? page : cache_make(node, index);
}

/* Gives bytes of a file, from `at` on, to the pages that they belong to. */
static void distribute(struct node *node, uint64_t at, const uint8_t *bytes, size_t size, uint64_t wanted) {
    while (size > 0) {
        size_t within = at & HAL_PAGE_MASK, now = PAGE_SIZE - within < size ? PAGE_SIZE - within : size;
        uint64_t index = at / PAGE_SIZE;
        struct cache_page *page = find_or_make(node, index, false);
        if (page)
            cache_put(page, within, bytes, now, index == wanted);
        at += now;
        bytes += now;
        size -= now;
    }
}

/* Reads blocks that are not compressed: those of `page` and some that follow, up to byte `end` of the file (or disk). */
static int fill_raw(struct node *node, struct cache_page *page, uint64_t from, uint64_t end) {
    uint64_t at = page->index * PAGE_SIZE;
    size_t size = end - at < AHEAD ? (size_t)(end - at) : AHEAD;
    size_t sectors = (size + HAL_BLK_SECTOR - 1) & ~(size_t)(HAL_BLK_SECTOR - 1);
    if (!cache_has_room() && sectors > PAGE_SIZE)
        sectors = size = PAGE_SIZE;
    int status = disk_read(disk, from + at, raw, sectors);
    /* Bad sectors behind the page are not its fault. */
    if (status != 0 && sectors > PAGE_SIZE)
        status = disk_read(disk, from + at, raw, sectors = size = PAGE_SIZE);
    if (status == 0)
        distribute(node, at, raw, size, page->index);
    return status;
}

int erofs_read_disk(uint64_t offset, void *to, size_t size) {
    uint64_t end = disk_size(disk);
    if (offset > end || size > end - offset)
        return -EIO;
    while (size > 0) {
        size_t within = offset & HAL_PAGE_MASK, now = PAGE_SIZE - within < size ? PAGE_SIZE - within : size;
        struct cache_page *page = find_or_make(NULL, offset / PAGE_SIZE, true);
        if (!page)
            return -ENOMEM;
        page->pins++;
        /* The disk may end within its last page. */
        uint64_t page_end = (offset & ~(uint64_t)HAL_PAGE_MASK) + PAGE_SIZE;
        size_t there = page_end <= end ? PAGE_SIZE : (size_t)(end & HAL_PAGE_MASK);
        int status = page->from == 0 && page->to >= there ? 0 : fill_raw(NULL, page, 0, end);
        if (status == 0)
            memcpy(to, page->bytes + within, now);
        page->pins--;
        if (status != 0)
            return status;
        to = (char *)to + now;
        offset += now;
        size -= now;
    }
    return 0;
}

struct target {
    struct node *node;
    uint64_t at, wanted;
};

static bool take(void *context, const uint8_t *bytes, size_t size) {
    struct target *target = context;
    distribute(target->node, target->at, bytes, size, target->wanted);
    target->at += size;
    return target->at < (target->wanted + 1) * PAGE_SIZE + FURTHER;
}

static int read_packed(const struct erofs_extent *extent) {
    if (extent->length > MAX_LENGTH)
        return -EIO;
    if (extent->length > packed_room) {
        kfree(packed);
        packed = kmalloc(extent->length);
        packed_room = packed ? kmalloc_size(packed) : 0;
        if (!packed)
            return -ENOMEM;
    }
    return disk_read(disk, extent->disk, packed, extent->length);
}

static int fill_compressed(struct node *node, struct cache_page *page, uint64_t end) {
    uint64_t start = page->index * PAGE_SIZE;
    if (page->from > 0)
        page->from = page->to = 0; /* in order from its begin, so that each round adds to it */
    while (start + page->to < end) {
        uint64_t at = start + page->to;
        struct erofs_extent extent;
        int status = erofs_find_extent(node->private_data, node->size, at, &extent);
        if (status == 0)
            status = read_packed(&extent);
        if (status != 0)
            return status;
        uint64_t size = extent.end - extent.start;
        struct target target = {node, extent.start, page->index};
        if (extent.compressed) {
            /* Compressed bytes stand at the end of their blocks (in old images at the begin); none begin with a zero. */
            size_t zeros = 0;
            while (zeros < EROFS_BLOCK && packed[zeros] == 0)
                zeros++;
            status = lz4_decode(packed + zeros, extent.length - zeros, size, window, take, &target);
            if (status != 0)
                return -EIO;
        } else {
            take(&target, packed, (size_t)size);
        }
        if (start + page->to <= at)
            return -EIO;
    }
    return 0;
}

static int fill(struct node *node, struct cache_page *page) {
    struct erofs_inode *inode = node->private_data;
    uint64_t start = page->index * PAGE_SIZE, end = start + PAGE_SIZE < node->size ? start + PAGE_SIZE : node->size;
    uint64_t whole = inode->layout == EROFS_INLINE ? node->size & ~(uint64_t)(EROFS_BLOCK - 1) : node->size;
    int status;
    if (inode->layout == EROFS_FULL_INDEX || inode->layout == EROFS_COMPACT_INDEX) {
        status = fill_compressed(node, page, end);
    } else if (start < whole) {
        status = fill_raw(node, page, (uint64_t)inode->address << EROFS_BLOCK_BITS, whole);
    } else {
        status = erofs_read_disk(inode->after, page->bytes, (size_t)(end - start));
        page->from = 0;
        page->to = status == 0 ? (uint16_t)(end - start) : 0;
    }
    if (status != 0)
        return status;
    memset(page->bytes + (end - start), 0, (size_t)(PAGE_SIZE - (end - start)));
    page->from = 0;
    page->to = PAGE_SIZE;
    return 0;
}

struct cache_page *erofs_get_page_locked(struct node *node, uint64_t index, int *status) {
    struct cache_page *page = find_or_make(node, index, true);
    *status = -ENOMEM;
    if (!page)
        return NULL;
    page->pins++;
    *status = cache_is_full(page) ? 0 : fill(node, page);
    if (*status == 0)
        return page;
    page->pins--;
    return NULL;
}

struct cache_page *erofs_get_page(struct node *node, uint64_t index, int *status) {
    struct cache_page *page = cache_find(node, index);
    if (page && cache_is_full(page)) {
        page->pins++;
        return page;
    }
    erofs_lock();
    page = erofs_get_page_locked(node, index, status);
    erofs_unlock();
    return page;
}

int64_t erofs_read(struct node *node, struct iter *to, uint64_t offset) {
    int64_t total = 0;
    if ((node->mode & S_IFMT) != S_IFREG)
        return -EINVAL;
    while (to->left && offset < node->size) {
        int status;
        struct cache_page *page = erofs_get_page(node, offset / PAGE_SIZE, &status);
        if (!page)
            return total ? total : status;
        size_t within = offset & HAL_PAGE_MASK, now = PAGE_SIZE - within;
        now = now < to->left ? now : to->left;
        now = now < node->size - offset ? now : node->size - offset;
        size_t done = iter_put(to, page->bytes + within, now);
        page->pins--;
        total += (int64_t)done;
        offset += done;
        if (done < now)
            return total ? total : -EFAULT;
    }
    return total;
}

int erofs_page(struct node *node, uint64_t index, bool write, void **page, bool *borrowed) {
    int status;
    (void)write;
    if (index >= (node->size + HAL_PAGE_MASK) / PAGE_SIZE)
        return -EFAULT;
    struct cache_page *found = erofs_get_page(node, index, &status);
    if (!found)
        return status;
    *page = cache_lend(found);
    *borrowed = true;
    found->pins--;
    return 0;
}

void *erofs_resident(struct node *node, uint64_t index) {
    struct cache_page *page = cache_find(node, index);
    return page && cache_is_full(page) ? cache_lend(page) : NULL;
}
