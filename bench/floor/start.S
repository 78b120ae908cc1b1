/* Entry by PVH (Xen docs/misc/pvh.pandoc): 32-bit protected mode, flat segments, paging off, interrupts off,
 * %ebx holds the physical address of struct hvm_start_info. */
    .section .note.pvh, "a", @note
    .balign 4
    .long 4, 4, 18 /* XEN_ELFNOTE_PHYS32_ENTRY */
    .asciz "Xen"
    .long _start

    .text
    .globl _start
_start:
    movl $stack_end, %esp
    xorl %ebp, %ebp
    pushl %ebx
    call floor_main
1:  hlt
    jmp 1b

/* An invalid descriptor table makes any trap a triple fault, which resets the machine. */
    .globl triple_fault
triple_fault:
    lidt no_idt
    int3
    jmp triple_fault

    .section .rodata
no_idt:
    .word 0
    .long 0

    .bss
    .balign 16
    .skip 4096
stack_end:

    .section .note.GNU-stack, "", @progbits
