/*
 * The index of a compressed file: for each logical cluster whether a compressed piece begins in it, where, and where the
 * piece lies on the disk. Two forms: eight bytes a cluster, or packs of 2 or 16 clusters with 4 or 2 bytes each.
 */
#include "erofs.h"
#include "nano/errno.h"

#define HEADER_SIZE 8
#define FULL_PADDING 8

enum { ADVISE_TWO_BYTES = 1, ADVISE_BIG = 2, ADVISE_KNOWN = 7 };

/* Kinds of logical clusters; SECOND_HEAD (another algorithm) is not made by the images that are read here. */
enum kind { STORED, HEAD, NO_HEAD, SECOND_HEAD };

#define HAS_BLOCKS 0x800u /* in a distance: it is the count of blocks instead, and the head is the cluster before */

struct cluster {
    enum kind kind;
    uint32_t offset;   /* within the cluster, where the piece begins: of a head */
    uint32_t distance; /* to the head, backwards: of no head; at least 1 */
    uint32_t blocks;   /* of the piece, 0 where it is not said here */
    uint64_t block;    /* where the piece lies: of a head */
};

static uint64_t round_up(uint64_t value, uint64_t to) {
    return (value + to - 1) & ~(to - 1);
}

static int read_header(struct erofs_inode *inode) {
    uint8_t header[HEADER_SIZE];
    if (inode->has_header)
        return 0;
    int status = erofs_read_disk(round_up(inode->after, 8), header, sizeof header);
    if (status != 0)
        return status;
    inode->advise = erofs_u16(header + 4);
    inode->cluster_bits = (uint8_t)(EROFS_BLOCK_BITS + (header[7] & 7));
    /* Fragments, pieces inside the index, other algorithms than LZ4. */
    if (inode->advise & ~ADVISE_KNOWN || header[6] & 15 || header[7] >> 3)
        return -EIO;
    if (inode->layout == EROFS_COMPACT_INDEX && inode->cluster_bits > (inode->advise & ADVISE_TWO_BYTES ? 12 : 14))
        return -EIO;
    inode->has_header = true;
    return 0;
}

static int load_full(const struct erofs_inode *inode, uint64_t number, struct cluster *cluster) {
    uint8_t entry[8];
    int status = erofs_read_disk(round_up(inode->after, 8) + HEADER_SIZE + FULL_PADDING + number * sizeof entry, entry, sizeof entry);
    if (status != 0)
        return status;
    *cluster = (struct cluster){.kind = entry[0] & 3, .offset = erofs_u16(entry + 2), .block = erofs_u32(entry + 4)};
    if (cluster->kind == NO_HEAD) {
        cluster->distance = erofs_u16(entry + 4);
        if (cluster->distance & HAS_BLOCKS) {
            cluster->blocks = cluster->distance & ~HAS_BLOCKS;
            cluster->distance = 1;
        }
    }
    return 0;
}

/* One pack: `count` numbers of `bits` bits, then the address from which the blocks of its heads count on. */
struct pack {
    uint8_t bytes[32];
    unsigned count, bits, number_bits;
};

static uint32_t unpack(const struct pack *pack, unsigned i, enum kind *kind) {
    unsigned at = i * pack->bits;
    uint32_t value = erofs_u32(pack->bytes + at / 8) >> (at & 7);
    *kind = value >> pack->number_bits & 3;
    return value & ((1u << pack->number_bits) - 1);
}

static int count_blocks(const struct erofs_inode *inode, const struct pack *pack, unsigned i, uint64_t *block) {
    bool big = inode->advise & ADVISE_BIG;
    uint64_t blocks = big ? 0 : 1;
    int at = (int)i;
    while (at > 0) {
        enum kind kind;
        uint32_t number = unpack(pack, (unsigned)--at, &kind);
        if (kind != NO_HEAD) {
            blocks++;
        } else if (!big) {
            at -= (int)number;
            blocks += at >= 0;
        } else if (number & HAS_BLOCKS) {
            blocks += number & ~HAS_BLOCKS;
            at--; /* its head */
        } else if (number <= 1) {
            return -EIO;
        } else {
            at -= (int)number - 2; /* to the cluster behind the head, which has the count */
        }
    }
    *block = erofs_u32(pack->bytes + pack->count * pack->bits / 8) + blocks;
    return 0;
}

static int load_compact(const struct erofs_inode *inode, uint64_t clusters, uint64_t number, struct cluster *cluster) {
    uint64_t at = round_up(inode->after, 8) + HEADER_SIZE;
    /* Four bytes each up to a multiple of 32 bytes, then as many packs of 16 clusters as there are, then four bytes again. */
    uint64_t first = (32 - at % 32) / 4 % 8, small = 0;
    if (inode->advise & ADVISE_TWO_BYTES && first < clusters)
        small = (clusters - first) & ~15ull;
    bool is_small = number >= first && number - first < small;
    if (is_small) {
        at += first * 4;
        number -= first;
    } else if (number >= first) {
        at += first * 4 + small * 2;
        number -= first + small;
    }
    struct pack pack = {.count = is_small ? 16 : 2, .bits = is_small ? 14 : 16, .number_bits = inode->cluster_bits > 12 ? inode->cluster_bits : 12};
    size_t size = is_small ? 32 : 8;
    unsigned i = (unsigned)(number % pack.count);
    int status = erofs_read_disk(at + number / pack.count * size, pack.bytes, size);
    if (status != 0)
        return status;
    *cluster = (struct cluster){0};
    uint32_t value = unpack(&pack, i, &cluster->kind);
    if (cluster->kind != NO_HEAD) {
        cluster->offset = value;
        return count_blocks(inode, &pack, i, &cluster->block);
    }
    if (value & HAS_BLOCKS) {
        cluster->blocks = value & ~HAS_BLOCKS;
        cluster->distance = 1;
    } else if (i + 1 < pack.count) {
        cluster->distance = value;
    } else {
        /* The last of a pack has the distance to the next head; its own is one more than that of the one before. */
        enum kind before;
        value = unpack(&pack, i - 1, &before);
        cluster->distance = before != NO_HEAD ? 1 : value & HAS_BLOCKS ? 2 : value + 1;
    }
    return 0;
}

static int load(const struct erofs_inode *inode, uint64_t size, uint64_t number, struct cluster *cluster) {
    uint64_t clusters = (size + (1ull << inode->cluster_bits) - 1) >> inode->cluster_bits;
    if (number >= clusters)
        return -EIO;
    int status = inode->layout == EROFS_FULL_INDEX ? load_full(inode, number, cluster) : load_compact(inode, clusters, number, cluster);
    if (status != 0)
        return status;
    if (cluster->kind == SECOND_HEAD || cluster->offset >= 1u << inode->cluster_bits || (cluster->kind == NO_HEAD && cluster->distance == 0))
        return -EIO;
    return cluster->blocks && !(inode->advise & ADVISE_BIG) ? -EIO : 0;
}

/* The end of a piece: the next head, or the end of the file. `blocks`: how many it has, where a cluster of it says so. */
static int find_end(const struct erofs_inode *inode, uint64_t size, uint64_t head, uint64_t *end, uint32_t *blocks) {
    for (uint64_t number = head + 1;; number++) {
        struct cluster cluster;
        if (number << inode->cluster_bits >= size) {
            *end = size;
            return 0;
        }
        int status = load(inode, size, number, &cluster);
        if (status != 0)
            return status;
        if (cluster.kind != NO_HEAD) {
            *end = (number << inode->cluster_bits) + cluster.offset;
            *end = *end < size ? *end : size;
            return 0;
        }
        if (number == head + 1)
            *blocks = cluster.blocks;
    }
}

int erofs_find_extent(struct erofs_inode *inode, uint64_t size, uint64_t at, struct erofs_extent *extent) {
    int status = read_header(inode);
    if (status != 0)
        return status;
    struct cluster cluster;
    uint64_t number = at >> inode->cluster_bits;
    status = load(inode, size, number, &cluster);
    /* What begins behind `at` in its cluster: the piece before is meant. */
    if (status == 0 && cluster.kind != NO_HEAD && (number << inode->cluster_bits) + cluster.offset > at) {
        cluster.kind = NO_HEAD;
        cluster.distance = 1;
    }
    while (status == 0 && cluster.kind == NO_HEAD) {
        if (cluster.distance > number)
            return -EIO;
        number -= cluster.distance;
        status = load(inode, size, number, &cluster);
    }
    if (status != 0)
        return status;
    uint32_t blocks = 0;
    *extent = (struct erofs_extent){.start = (number << inode->cluster_bits) + cluster.offset, .disk = cluster.block << EROFS_BLOCK_BITS, .compressed = cluster.kind == HEAD};
    status = find_end(inode, size, number, &extent->end, &blocks);
    if (status != 0)
        return status;
    uint32_t one = 1u << (inode->cluster_bits - EROFS_BLOCK_BITS);
    extent->length = (blocks ? blocks : one) << EROFS_BLOCK_BITS;
    if (extent->start > at || extent->end <= at || (!extent->compressed && extent->end - extent->start > extent->length))
        return -EIO;
    return 0;
}
