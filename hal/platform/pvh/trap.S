/*
 * The ways into the kernel: 128 interrupt vectors and SYSCALL; the ways back; the context switch; the copy routines.
 * One CPU, so the kernel keeps its scratch values in ordinary memory and needs no SWAPGS.
 */
        .macro push_registers
        push %r9
        push %r8
        push %r10
        push %rdx
        push %rsi
        push %rdi
        push %rax
        push %rcx
        push %r11
        push %rbx
        push %rbp
        push %r12
        push %r13
        push %r14
        push %r15
        .endm
        .macro pop_registers
        pop %r15
        pop %r14
        pop %r13
        pop %r12
        pop %rbp
        pop %rbx
        pop %r11
        pop %rcx
        pop %rax
        pop %rdi
        pop %rsi
        pop %rdx
        pop %r10
        pop %r8
        pop %r9
        .endm

        .text
        .align 16
        .globl trap_vectors
trap_vectors:
        vector = 0
        .rept 128
        .align 16
        .if (vector == 8) || (vector >= 10 && vector <= 14) || (vector == 17) || (vector == 21) || (vector == 29) || (vector == 30)
        .else
        push $0
        .endif
        push $vector
        jmp trap_common
        vector = vector + 1
        .endr

        .align 16
trap_common:
        push_registers
        cld
        /*
         * A trap from ring 3 leaves SS empty (Intel SDM, volume 3, 6.14.2), SYSCALL fills it. The kernel has one SS: a
         * translating emulator keeps the same code once for each.
         */
        testb $3, 18 * 8(%rsp)
        jz 1f
        mov $0x10, %eax
        mov %eax, %ss
1:      cmpb $0, pvh_has_smap(%rip)
        je 1f
        clac
1:      mov %rsp, %rdi
        xor %ebp, %ebp
        mov %rsp, %rbx
        and $-16, %rsp
        call pvh_trap
        mov %rbx, %rsp
        .globl trap_return
trap_return:
        pop_registers
        add $16, %rsp
        iretq

        .align 16
        .globl syscall_entry
syscall_entry:
        mov %rsp, syscall_user_stack(%rip)
        mov pvh_kernel_stack(%rip), %rsp
        push $0x23
        push syscall_user_stack(%rip)
        push %r11
        push $0x2b
        push %rcx
        push %rax
        push $0x100
        push_registers
        mov %rsp, %rdi
        xor %ebp, %ebp
        call pvh_syscall
        /* SYSRET only for a frame that still is a system call's and returns below the canonical hole. */
        cmpq $0x100, 15 * 8(%rsp)
        jne trap_return
        mov 17 * 8(%rsp), %rcx
        mov $0x7fffffffefff, %r11
        cmp %r11, %rcx
        ja trap_return
        pop %r15
        pop %r14
        pop %r13
        pop %r12
        pop %rbp
        pop %rbx
        add $16, %rsp
        pop %rax
        pop %rdi
        pop %rsi
        pop %rdx
        pop %r10
        pop %r8
        pop %r9
        mov 16(%rsp), %rcx
        mov 32(%rsp), %r11
        mov 40(%rsp), %rsp
        sysretq

        .globl hal_user_enter
hal_user_enter:
        mov %rdi, %rsp
        jmp trap_return

/* void pvh_switch(void **save_stack_pointer, void *stack_pointer) */
        .globl pvh_switch
pvh_switch:
        push %rbx
        push %rbp
        push %r12
        push %r13
        push %r14
        push %r15
        mov %rsp, (%rdi)
        mov %rsi, %rsp
        pop %r15
        pop %r14
        pop %r13
        pop %r12
        pop %rbp
        pop %rbx
        ret

/* A new context begins here: rbx the function, r12 its argument. */
        .globl pvh_context_start
pvh_context_start:
        mov %r12, %rdi
        xor %ebp, %ebp
        call *%rbx
        ud2

        .macro fixup from, to
        .pushsection .rodata.fixups, "a"
        .quad \from, \to
        .popsection
        .endm

/*
 * size_t pvh_copy_user(void *to, const void *from, size_t size): the bytes not copied. A fault in the bulk loop goes on
 * byte by byte, so that the count is exact.
 */
        .globl pvh_copy_user
        .align 16
pvh_copy_user:
        cmpb $0, pvh_has_smap(%rip)
        je 1f
        stac
1:      mov %rdx, %rcx
        shr $5, %rcx
        jz 4f
2:
10:     mov (%rsi), %rax
11:     mov 8(%rsi), %r8
12:     mov 16(%rsi), %r9
13:     mov 24(%rsi), %r10
14:     mov %rax, (%rdi)
15:     mov %r8, 8(%rdi)
16:     mov %r9, 16(%rdi)
17:     mov %r10, 24(%rdi)
        add $32, %rsi
        add $32, %rdi
        sub $32, %rdx
        dec %rcx
        jnz 2b
4:      cmp $8, %rdx
        jb 5f
18:     mov (%rsi), %rax
19:     mov %rax, (%rdi)
        add $8, %rsi
        add $8, %rdi
        sub $8, %rdx
        jmp 4b
5:      mov %rdx, %rcx
20:     rep movsb
6:      mov %rcx, %rax
        cmpb $0, pvh_has_smap(%rip)
        je 7f
        clac
7:      ret
        fixup 10b, 5b
        fixup 11b, 5b
        fixup 12b, 5b
        fixup 13b, 5b
        fixup 14b, 5b
        fixup 15b, 5b
        fixup 16b, 5b
        fixup 17b, 5b
        fixup 18b, 5b
        fixup 19b, 5b
        fixup 20b, 6b

/* size_t pvh_zero_user(void *to, size_t size): the bytes not cleared; faults as above. */
        .globl pvh_zero_user
pvh_zero_user:
        cmpb $0, pvh_has_smap(%rip)
        je 1f
        stac
1:      xor %eax, %eax
        mov %rsi, %rcx
        shr $5, %rcx
        jz 4f
2:
10:     mov %rax, (%rdi)
11:     mov %rax, 8(%rdi)
12:     mov %rax, 16(%rdi)
13:     mov %rax, 24(%rdi)
        add $32, %rdi
        sub $32, %rsi
        dec %rcx
        jnz 2b
4:      mov %rsi, %rcx
14:     rep stosb
5:      mov %rcx, %rax
        cmpb $0, pvh_has_smap(%rip)
        je 6f
        clac
6:      ret
        fixup 10b, 4b
        fixup 11b, 4b
        fixup 12b, 4b
        fixup 13b, 4b
        fixup 14b, 5b

        .section .bss
        .align 8
syscall_user_stack:
        .skip 8
        .globl pvh_kernel_stack
pvh_kernel_stack:
        .skip 8
        .section .note.GNU-stack, "", @progbits
