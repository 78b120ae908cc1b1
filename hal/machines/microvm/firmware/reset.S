/*
 * From the reset vector (Intel SDM, volume 3, 9.1.4: real mode, CS:IP = f000:fff0 with the base 0xffff0000) to
 * firmware_main() in 32-bit protected mode with flat segments, and on to the kernel's PVH entry.
 */
#define STACK_TOP 0x7000

        .section .reset, "ax"
        .code16
        jmp real_mode

        .section .text.real, "ax"       /* begins where CS begins */
        .code16
segment:
real_mode:
        cli
        cld
        lgdtl %cs:(gdt_pointer - segment)
        mov %cr0, %eax
        or $1, %al
        mov %eax, %cr0
        ljmpl $0x08, $protected_mode

        .align 8
gdt:
        .quad 0, 0x00cf9b000000ffff, 0x00cf93000000ffff
gdt_pointer:
        .word 23
        .long gdt

        .section .text, "ax"
        .code32
protected_mode:
        mov $0x10, %eax
        mov %eax, %ds
        mov %eax, %es
        mov %eax, %fs
        mov %eax, %gs
        mov %eax, %ss
        mov $STACK_TOP, %esp
        call firmware_main              /* EAX: the entry, EDX: the start info */
        mov %edx, %ebx
        xor %ebp, %ebp
        jmp *%eax

        .section .note.GNU-stack, "", @progbits
