/*
 * erofs, a compressed read-only filesystem (Linux Documentation/filesystems/erofs.rst), as `mkfs.erofs`, with or without
 * `-z lz4` or `-z lz4hc`, makes it: blocks of 4 KiB; files whole, with their last block beside the inode, or compressed by
 * LZ4 in clusters of any size. All that an image says is checked where it is used.
 */
#ifndef NANO_EROFS_H
#define NANO_EROFS_H

#include "disk.h"
#include "nano/vfs.h"

#define EROFS_BLOCK_BITS 12
#define EROFS_BLOCK ((size_t)1 << EROFS_BLOCK_BITS)

enum erofs_layout { EROFS_PLAIN = 0, EROFS_FULL_INDEX = 1, EROFS_INLINE = 2, EROFS_COMPACT_INDEX = 3 };

/* What a node's private_data is. */
struct erofs_inode {
    enum erofs_layout layout;
    uint32_t address;      /* of the first block of a file that is not compressed */
    uint64_t after;        /* byte of the disk behind the inode and its attributes: the last part, or the index */
    uint16_t advise;       /* of a compressed file */
    uint8_t cluster_bits;  /* of a logical cluster */
    bool has_header;       /* the two above are known */
};

/* A piece of a compressed file that is compressed as one. */
struct erofs_extent {
    uint64_t start, end; /* bytes of the file */
    uint64_t disk;       /* byte of the disk */
    uint32_t length;     /* bytes on the disk */
    bool compressed;
};

/*
 * Mounts: the root of the tree, with one reference. NULL, and *why (the rest of a sentence) where the image is damaged or
 * of a kind that is not known. `disk` stays the caller's and must stay. Once.
 */
struct node *erofs_mount(struct disk *disk, const char **why);

/* For the parts of erofs. Only with erofs_lock() held; each may block. 0, -EIO (also: the image is damaged), -ENOMEM. */
void erofs_lock(void);
void erofs_unlock(void);
int erofs_start(struct disk *disk); /* the memory for reading */
int erofs_read_disk(uint64_t offset, void *to, size_t size);
int erofs_find_extent(struct erofs_inode *inode, uint64_t size, uint64_t at, struct erofs_extent *extent);

/* The file's bytes, by the page cache; the lock must not be held. */
struct cache_page *erofs_get_page(struct node *node, uint64_t index, int *status); /* with one pin more; NULL: *status */
struct cache_page *erofs_get_page_locked(struct node *node, uint64_t index, int *status);
int64_t erofs_read(struct node *node, struct iter *to, uint64_t offset);
int erofs_page(struct node *node, uint64_t index, bool write, void **page, bool *borrowed);
void *erofs_resident(struct node *node, uint64_t index);

static inline uint16_t erofs_u16(const uint8_t *at) {
    return (uint16_t)(at[0] | at[1] << 8);
}
static inline uint32_t erofs_u32(const uint8_t *at) {
    return erofs_u16(at) | (uint32_t)erofs_u16(at + 2) << 16;
}
static inline uint64_t erofs_u64(const uint8_t *at) {
    return erofs_u32(at) | (uint64_t)erofs_u32(at + 4) << 32;
}

#endif
