/*
 * The tree: the superblock, inodes, directories.
 */
#include "erofs.h"

#include "cache.h"
#include "hal/string.h"
#include "nano/errno.h"
#include "nano/heap.h"

#define SUPER_OFFSET 1024
#define SUPER_SIZE 128
#define MAGIC 0xe0f5e1e2u
#define ENTRY_SIZE 12
#define INODE_UNIT 32

/* Features that change how an image is read: padding before compressed bytes, not behind; algorithms and big clusters. */
enum { FEATURE_PADDING = 1, FEATURE_CONFIGURATION = 2 };

/* Mount points that are made in memory are counted from far above all inodes of an image. */
static struct filesystem filesystem = {"erofs", 0xfe00, MAGIC, true, 1ull << 62};
static uint64_t inodes_begin; /* byte of the disk */
static int64_t build_time; /* ns since 1970 */

static int lookup(struct node *directory, const char *name, size_t length);
static int fill_directory(struct node *directory);

static const struct node_ops ops = {.lookup = lookup, .fill = fill_directory, .read = erofs_read, .page = erofs_page, .resident = erofs_resident};
static const struct node_ops link_ops = {0};

struct description {
    struct erofs_inode inode;
    uint64_t size, number;
    uint32_t mode, links;
    int64_t modified;
};

static int read_inode(uint64_t number, struct description *found) {
    uint8_t bytes[64];
    uint64_t at = inodes_begin + number * INODE_UNIT;
    if (number > UINT64_MAX / INODE_UNIT / 2)
        return -EIO;
    int status = erofs_read_disk(at, bytes, 32);
    if (status != 0)
        return status;
    unsigned format = erofs_u16(bytes), attributes = erofs_u16(bytes + 2);
    bool extended = format & 1;
    if (extended)
        status = erofs_read_disk(at, bytes, 64);
    if (status != 0)
        return status;
    *found = (struct description){
        .inode = {.layout = format >> 1 & 7, .address = erofs_u32(bytes + 16)},
        .size = extended ? erofs_u64(bytes + 8) : erofs_u32(bytes + 8),
        .number = number,
        .mode = erofs_u16(bytes + 4),
        .links = extended ? erofs_u32(bytes + 44) : erofs_u16(bytes + 6),
        .modified = extended ? (int64_t)(erofs_u64(bytes + 32) % 9000000000u * 1000000000 + erofs_u32(bytes + 40)) : build_time,
    };
    found->inode.after = at + (extended ? 64 : 32) + (attributes ? 12 + (attributes - 1) * 4 : 0);
    if (found->inode.layout > EROFS_COMPACT_INDEX || format >> 4 || found->size > (uint64_t)1 << 48)
        return -EIO;
    return 0;
}

/* A node of the inode, not yet in the tree. -ENOENT: of a kind that is left out (devices, sockets). */
static int make_node(uint64_t number, const char *name, size_t length, struct node **made) {
    struct description found;
    int status = read_inode(number, &found);
    if (status != 0)
        return status;
    uint32_t type = found.mode & S_IFMT;
    if (type != S_IFDIR && type != S_IFREG && type != S_IFLNK)
        return -ENOENT;
    if (type == S_IFLNK && (found.size == 0 || found.size >= PATH_MAX))
        return -EIO;
    struct node *node = node_create(&filesystem, type == S_IFLNK ? &link_ops : &ops, name, length, found.mode);
    struct erofs_inode *inode = node ? kmalloc(sizeof *inode) : NULL;
    if (!inode) {
        if (node)
            node_put(node);
        return -ENOMEM;
    }
    *inode = found.inode;
    node->private_data = inode;
    node->size = found.size;
    node->inode = found.number;
    node->links = found.links;
    node->modified = node->changed = node->accessed = found.modified;
    if (type == S_IFLNK) {
        char *target = kzalloc(found.size + 1);
        struct cache_page *page = target ? erofs_get_page_locked(node, 0, &status) : NULL;
        if (page) {
            memcpy(target, page->bytes, found.size);
            page->pins--;
            node->data = target;
        } else {
            /* A page of this node may be in the cache by parts, so the node stays; it is never in the tree. */
            kfree(target);
            return target ? status : -ENOMEM;
        }
    }
    *made = node;
    return 0;
}

/* Adds a node; another thread cannot have done so meanwhile, as the lock is held. */
static void attach(struct node *directory, struct node *child) {
    uint32_t links = directory->links; /* the image counts them */
    node_attach(directory, child);
    directory->links = links;
}

/* One block of a directory: entries, then their names. */
struct block {
    const uint8_t *bytes;
    size_t size;
    unsigned count;
};

static bool open_block(struct block *block) {
    size_t first = block->size >= ENTRY_SIZE ? erofs_u16(block->bytes + 8) : 0;
    block->count = (unsigned)(first / ENTRY_SIZE);
    return first >= ENTRY_SIZE && first % ENTRY_SIZE == 0 && first <= block->size;
}

/* The name of an entry; it ends where the next one begins, the last one at a NUL or the block's end. */
static const char *entry_name(const struct block *block, unsigned i, size_t *length) {
    size_t from = erofs_u16(block->bytes + i * ENTRY_SIZE + 8);
    size_t to = i + 1 < block->count ? erofs_u16(block->bytes + (i + 1) * ENTRY_SIZE + 8) : block->size;
    if (from < block->count * ENTRY_SIZE || from >= to || to > block->size)
        return NULL;
    const char *name = (const char *)block->bytes + from;
    *length = i + 1 < block->count ? to - from : strnlen(name, to - from);
    if (*length == 0 || *length > NAME_MAX || memchr(name, '/', *length) || memchr(name, '\0', *length))
        return NULL;
    return name;
}

static bool is_dot(const char *name, size_t length) {
    return name[0] == '.' && (length == 1 || (length == 2 && name[1] == '.'));
}

/* Adds the child `wanted` (NULL: every one) of a directory's block. 1: found it. */
static int add_from_block(struct node *directory, const struct block *block, const char *wanted, size_t wanted_length) {
    for (unsigned i = 0; i < block->count; i++) {
        size_t length;
        const char *name = entry_name(block, i, &length);
        if (!name)
            return -EIO;
        if (is_dot(name, length) || (wanted && (length != wanted_length || memcmp(name, wanted, length) != 0)))
            continue;
        if (node_child(directory, name, length))
            continue;
        struct node *child;
        int status = make_node(erofs_u64(block->bytes + i * ENTRY_SIZE), name, length, &child);
        if (status == 0)
            attach(directory, child);
        if (wanted)
            return status == 0 ? 1 : status;
        if (status != 0 && status != -ENOENT)
            return status;
    }
    return 0;
}

static int walk_directory(struct node *directory, const char *wanted, size_t length) {
    /* A mount point that was made in memory has no inode. */
    if ((directory->mode & S_IFMT) != S_IFDIR || !directory->private_data)
        return 0;
    int found = 0;
    for (uint64_t at = 0; at < directory->size && found == 0; at += EROFS_BLOCK) {
        int status;
        struct cache_page *page = erofs_get_page_locked(directory, at / EROFS_BLOCK, &status);
        if (!page)
            return status;
        struct block block = {page->bytes, directory->size - at < EROFS_BLOCK ? (size_t)(directory->size - at) : EROFS_BLOCK, 0};
        found = open_block(&block) ? add_from_block(directory, &block, wanted, length) : -EIO;
        page->pins--;
    }
    return found;
}

static int lookup(struct node *directory, const char *name, size_t length) {
    erofs_lock();
    int found = node_child(directory, name, length) ? 1 : walk_directory(directory, name, length);
    erofs_unlock();
    return found > 0 ? 0 : found == 0 ? -ENOENT : found;
}

static int fill_directory(struct node *directory) {
    erofs_lock();
    int status = directory->complete ? 0 : walk_directory(directory, NULL, 0);
    if (status == 0)
        directory->complete = true;
    erofs_unlock();
    return status;
}

static struct node *refuse(const char **why, const char *text) {
    *why = text;
    return NULL;
}

struct node *erofs_mount(struct disk *disk, const char **why) {
    uint8_t super[SUPER_SIZE];
    if (erofs_start(disk) != 0)
        return refuse(why, "the machine has too little memory");
    erofs_lock();
    int status = erofs_read_disk(SUPER_OFFSET, super, sizeof super);
    erofs_unlock();
    if (status != 0)
        return refuse(why, status == -ENOMEM ? "the machine has too little memory" : "its superblock cannot be read");
    if (erofs_u32(super) != MAGIC)
        return refuse(why, "it holds no erofs filesystem");
    uint32_t features = erofs_u32(super + 80);
    if (features & ~(uint32_t)(FEATURE_PADDING | FEATURE_CONFIGURATION))
        return refuse(why, "its erofs filesystem has features that this kernel does not know");
    if (features & FEATURE_CONFIGURATION && erofs_u16(super + 84) & ~1u)
        return refuse(why, "it is compressed by another algorithm than LZ4");
    if (super[12] != EROFS_BLOCK_BITS)
        return refuse(why, "its blocks are not of 4096 bytes");
    if ((uint64_t)erofs_u32(super + 36) << EROFS_BLOCK_BITS > disk_size(disk))
        return refuse(why, "it is smaller than its filesystem: the image is truncated");
    inodes_begin = (uint64_t)erofs_u32(super + 40) << EROFS_BLOCK_BITS;
    build_time = (int64_t)(erofs_u64(super + 24) % 9000000000u * 1000000000 + erofs_u32(super + 32));
    struct node *root = NULL;
    erofs_lock();
    status = make_node(erofs_u16(super + 14), "", 0, &root);
    erofs_unlock();
    if (status == -ENOMEM)
        return refuse(why, "the machine has too little memory");
    if (status != 0 || (root->mode & S_IFMT) != S_IFDIR)
        return refuse(why, "its root directory is damaged");
    return root;
}
