/*
 * ELF programs: static and static-PIE, x86-64 (System V gABI chapter 4 and 5).
 */
#ifndef NANO_ELF_H
#define NANO_ELF_H

#include "hal/base.h"

struct node;

struct elf_image {
    uintptr_t entry, headers; /* AT_ENTRY, AT_PHDR */
    uintptr_t bias; /* from the file's addresses to those in memory */
    uint16_t header_count;
    uintptr_t end; /* of the highest segment */
    bool executable_stack;
};

/* Maps the program's segments. 0, or a negative error number and in *why a sentence that says what is wrong. */
int elf_load(struct node *node, struct elf_image *image, const char **why);

#endif
