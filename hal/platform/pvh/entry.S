/*
 * From the PVH entry (Xen docs/misc/pvh.pandoc: 32-bit protected mode, flat segments, paging off, EBX = start info) to
 * pvh_main() in long mode in the top 2 GiB.
 */
#define KERNEL_BASE 0xffffffff80000000

        .section .note.Xen, "a", @note
        .align 4
        .long 4, 8, 18                  /* name size, descriptor size, XEN_ELFNOTE_PHYS32_ENTRY */
        .asciz "Xen"
        .quad pvh_start - KERNEL_BASE

        .section .text.boot, "ax"
        .code32
        .globl pvh_start
pvh_start:
        cli
        cld
        mov %ebx, %ebp
        /*
         * Nothing checks before us that the memory reaches to the image's end, and that the archive, which lies at the top
         * of the memory, was not copied over the image. What says so stands at its very begin, below what is overwritten
         * first.
         */
        mov $(image_end - KERNEL_BASE - 4), %edi
        cmpl $0, 12(%ebx)               /* the number of modules */
        je 1f
        mov 16(%ebx), %esi              /* their list; the first one's address */
        cmp %edi, (%esi)
        jb too_little_memory
1:      movl $0x6f6e616e, (%edi)        /* .bss */
        cmpl $0x6f6e616e, (%edi)
        jne too_little_memory
        /* .bss holds the page tables and the stack, so it is cleared first. */
        mov $(bss_begin - KERNEL_BASE), %edi
        mov $(bss_end - KERNEL_BASE), %ecx
        sub %edi, %ecx
        xor %eax, %eax
2:      mov %eax, (%edi)                /* no string instruction: see string.S */
        mov %eax, 4(%edi)
        mov %eax, 8(%edi)
        mov %eax, 12(%edi)
        mov %eax, 16(%edi)
        mov %eax, 20(%edi)
        mov %eax, 24(%edi)
        mov %eax, 28(%edi)
        add $32, %edi
        sub $32, %ecx
        ja 2b
        mov %ebp, pvh_start_info - KERNEL_BASE
        mov $(boot_stack_top - KERNEL_BASE), %esp

        /* One directory of 2 MiB pages for the first GiB; global, writable. It serves at three places. */
        mov $(boot_directory - KERNEL_BASE), %edi
        mov $0x183, %eax
        mov $512, %ecx
1:      mov %eax, (%edi)
        add $0x200000, %eax
        add $8, %edi
        loop 1b
        movl $(boot_directory - KERNEL_BASE + 3), boot_pointers_low - KERNEL_BASE
        movl $(boot_directory - KERNEL_BASE + 3), boot_pointers_high - KERNEL_BASE + 510 * 8
        movl $(boot_pointers_low - KERNEL_BASE + 3), pvh_root_table - KERNEL_BASE
        movl $(boot_pointers_low - KERNEL_BASE + 3), pvh_root_table - KERNEL_BASE + 256 * 8
        movl $(boot_pointers_high - KERNEL_BASE + 3), pvh_root_table - KERNEL_BASE + 511 * 8
        mov $(pvh_root_table - KERNEL_BASE), %eax
        mov %eax, %cr3
        mov $0x6a0, %eax                /* PAE, PGE, OSFXSR, OSXMMEXCPT */
        mov %eax, %cr4
        mov $0xc0000080, %ecx           /* EFER */
        xor %edx, %edx
        mov $0x901, %eax                /* SCE, LME, NXE */
        wrmsr
        mov $0x80010033, %eax           /* PG, WP, NE, ET, MP, PE */
        mov %eax, %cr0
        lgdt boot_gdt_pointer - KERNEL_BASE
        ljmp $0x08, $(1f - KERNEL_BASE)
        .code64
1:      movabs $2f, %rax
        jmp *%rax
2:      mov $0x10, %eax
        mov %eax, %ds
        mov %eax, %es
        mov %eax, %ss
        xor %eax, %eax
        mov %eax, %fs
        mov %eax, %gs
        mov $boot_stack_top, %rsp
        xor %ebp, %ebp
        call pvh_main
        ud2

        .section .text.boot
        .code32
too_little_memory:
        mov $0x3f8, %dx
        mov $(too_little_report - KERNEL_BASE), %esi
        jmp 2f
1:      mov $0x2f8, %dx
        mov $(too_little_answer - KERNEL_BASE), %esi
2:      lodsb
        test %al, %al
        jz 4f
        mov %al, %ah
        mov $100000, %ecx
        add $5, %dx                     /* line status: the transmitter is empty */
3:      in %dx, %al
        test $0x20, %al
        loopz 3b
        sub $5, %dx
        mov %ah, %al
        out %al, %dx
        jmp 2b
4:      cmp $0x3f8, %dx
        je 1b
        mov $0x501, %dx                 /* isa-debug-exit */
        mov $2, %al                     /* the kernel's FAIL_MEMORY */
        out %al, %dx
5:      hlt
        jmp 5b
too_little_report:
        .ascii "nano: "
        .asciz "The machine has too little memory for the kernel and the root filesystem's archive.\n"
too_little_answer:
        .ascii "fail "
        .asciz "The machine has too little memory for the kernel and the root filesystem's archive.\n"

        .section .rodata
        .align 8
boot_gdt:
        .quad 0, 0x00af9b000000ffff, 0x00cf93000000ffff
boot_gdt_pointer:
        .word 23
        .quad boot_gdt - KERNEL_BASE

        .section .bss.pages, "aw", @nobits
        .align 4096
        .globl pvh_root_table, boot_pointers_low, boot_pointers_high, boot_directory, boot_stack_top
pvh_root_table:
        .skip 4096
boot_pointers_low:
        .skip 4096
boot_pointers_high:
        .skip 4096
boot_directory:
        .skip 4096
        .skip 16384
boot_stack_top:
        .section .bss
        .globl pvh_start_info
        .align 8
pvh_start_info:
        .skip 8
        .section .note.GNU-stack, "", @progbits
