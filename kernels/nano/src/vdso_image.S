/* The vDSO, an ELF library made before this file is assembled: VDSO is its path. */
        .section .rodata.vdso, "a"
        .globl vdso_image_begin, vdso_image_end
        .balign 4096
vdso_image_begin:
        .incbin VDSO
vdso_image_end:
        .balign 4096
        .section .note.GNU-stack, "", @progbits
