#include "nano/elf.h"

#include "hal/string.h"
#include "nano/errno.h"
#include "nano/page.h"
#include "nano/random.h"
#include "nano/user.h"
#include "nano/vfs.h"
#include "nano/vm.h"

#define ET_EXEC 2
#define ET_DYN 3
#define EM_X86_64 62
#define PT_LOAD 1
#define PT_INTERP 3
#define PT_GNU_STACK 0x6474e551
#define MAX_HEADERS 64

struct elf_header {
    uint8_t ident[16];
    uint16_t type, machine;
    uint32_t version;
    uint64_t entry, program_offset, section_offset;
    uint32_t flags;
    uint16_t size, program_size, program_count, section_size, section_count, names;
};
struct program_header {
    uint32_t type, flags;
    uint64_t offset, address, physical, file_size, memory_size, alignment;
};

static int bad(const char **why, const char *sentence) {
    *why = sentence;
    return -ENOEXEC;
}

static unsigned protection_of(uint32_t flags) {
    return (flags & 4 ? PROT_READ : 0) | (flags & 2 ? PROT_WRITE : 0) | (flags & 1 ? PROT_EXEC : 0);
}

/* Checks what the headers claim against the file and each other; finds the range of all segments. */
static int check(const struct elf_header *header, const struct program_header *programs, uint64_t file_size, uintptr_t *low, uintptr_t *high,
                 const char **why) {
    *low = UINTPTR_MAX;
    *high = 0;
    bool entry_found = false;
    for (unsigned i = 0; i < header->program_count; i++) {
        const struct program_header *p = &programs[i];
        if (p->type == PT_INTERP)
            return bad(why, "it is linked dynamically; this kernel runs static programs");
        if (p->type != PT_LOAD || p->memory_size == 0)
            continue;
        if (p->file_size > p->memory_size || p->offset > file_size || p->file_size > file_size - p->offset)
            return bad(why, "a segment lies outside the file: the file is truncated or damaged");
        if (p->address >= HAL_USER_END || p->memory_size > HAL_USER_END - p->address || (p->address & HAL_PAGE_MASK) != (p->offset & HAL_PAGE_MASK))
            return bad(why, "a segment's address cannot be");
        if ((p->flags & 3) == 3)
            return bad(why, "a segment is both writable and executable");
        if (*high > (p->address & ~HAL_PAGE_MASK))
            return bad(why, "its segments overlap or are not in ascending order");
        if (*low == UINTPTR_MAX)
            *low = p->address & ~HAL_PAGE_MASK;
        *high = (p->address + p->memory_size + HAL_PAGE_MASK) & ~HAL_PAGE_MASK;
        if (p->flags & 1 && header->entry >= p->address && header->entry - p->address < p->memory_size)
            entry_found = true;
    }
    if (*low == UINTPTR_MAX)
        return bad(why, "it has nothing to load");
    if (!entry_found)
        return bad(why, "its entry point is in no executable segment");
    if (header->type == ET_EXEC && *low < HAL_USER_FIRST)
        return bad(why, "it wants to be loaded at the null page");
    return 0;
}

static int map_segment(struct node *node, const struct program_header *p, uintptr_t bias) {
    uintptr_t start = (bias + p->address) & ~HAL_PAGE_MASK, file_end = bias + p->address + p->file_size;
    uintptr_t end = (bias + p->address + p->memory_size + HAL_PAGE_MASK) & ~HAL_PAGE_MASK;
    uintptr_t file_pages_end = (file_end + HAL_PAGE_MASK) & ~HAL_PAGE_MASK;
    unsigned protection = protection_of(p->flags);
    int64_t status = 0;
    if (p->file_size > 0)
        status = vm_map(start, file_pages_end - start, protection, MAP_PRIVATE | MAP_FIXED, node, (p->offset & ~HAL_PAGE_MASK) / PAGE_SIZE, NULL);
    else
        file_pages_end = start;
    if (status >= 0 && end > file_pages_end)
        status = vm_map(file_pages_end, end - file_pages_end, protection, MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, NULL, 0, NULL);
    if (status < 0)
        return (int)status;
    /* The rest of the last page of the file's part is .bss. */
    if (p->memory_size > p->file_size && p->file_size > 0 && file_end < file_pages_end && protection & PROT_WRITE)
        return clear_user(file_end, file_pages_end - file_end);
    return 0;
}

int elf_load(struct node *node, struct elf_image *image, const char **why) {
    struct elf_header header;
    struct program_header programs[MAX_HEADERS];
    int64_t got = node_read_kernel(node, &header, sizeof header, 0);
    if (got < 0)
        return bad(why, "it cannot be read");
    *why = "it is no ELF program";
    if (got != sizeof header || memcmp(header.ident, "\177ELF", 4) != 0)
        return -ENOEXEC;
    if (header.ident[4] != 2 || header.ident[5] != 1 || header.machine != EM_X86_64)
        return bad(why, "it is made for another kind of CPU than x86-64");
    if (header.type != ET_EXEC && header.type != ET_DYN)
        return bad(why, "it is an ELF file, but no program");
    if (header.program_size != sizeof programs[0] || header.program_count == 0 || header.program_count > MAX_HEADERS)
        return bad(why, "its table of program headers cannot be");
    int64_t size = header.program_count * (int64_t)sizeof programs[0];
    got = node_read_kernel(node, programs, (size_t)size, header.program_offset);
    if (got < 0)
        return bad(why, "it cannot be read");
    if (got != size)
        return bad(why, "its table of program headers lies outside the file");
    uintptr_t low, high;
    int status = check(&header, programs, node->size, &low, &high, why);
    if (status != 0)
        return status;
    uintptr_t bias = header.type == ET_DYN ? vm_program_base() - low : 0;
    *image = (struct elf_image){.entry = bias + header.entry, .bias = bias, .header_count = header.program_count, .end = bias + high};
    for (unsigned i = 0; i < header.program_count; i++) {
        const struct program_header *p = &programs[i];
        if (p->type == PT_GNU_STACK)
            image->executable_stack = p->flags & 1;
        if (p->type != PT_LOAD || p->memory_size == 0)
            continue;
        status = map_segment(node, p, bias);
        if (status != 0) {
            *why = "its segments could not be mapped";
            return status;
        }
        if (header.program_offset >= p->offset && header.program_offset - p->offset < p->file_size)
            image->headers = bias + p->address + (header.program_offset - p->offset);
    }
    if (image->executable_stack)
        return bad(why, "it asks for an executable stack");
    return 0;
}
