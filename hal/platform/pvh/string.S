/*
 * memcpy, memmove and memset: C11, 7.24. Nothing else here and no symbol from elsewhere, so that it can be tested alone.
 */
        .text
/*
 * No string instruction where it can be avoided: a translating emulator takes as long for each of its steps as for a few
 * plain instructions, and hardware long to begin one. What is left behind the last whole block is copied together with
 * bytes before it that were copied already; so ranges must not overlap, also where `to` is the lower one.
 */
        .globl memcpy
        .align 16
memcpy:
        mov %rdi, %rax
        cmp $32, %rdx
        jb 3f
1:      mov (%rsi), %r8
        mov 8(%rsi), %r9
        mov 16(%rsi), %r10
        mov 24(%rsi), %r11
        mov %r8, (%rdi)
        mov %r9, 8(%rdi)
        mov %r10, 16(%rdi)
        mov %r11, 24(%rdi)
        add $32, %rsi
        add $32, %rdi
        sub $32, %rdx
        cmp $32, %rdx
        jae 1b
        test %edx, %edx
        jz 2f
        mov -32(%rsi, %rdx), %r8
        mov -24(%rsi, %rdx), %r9
        mov -16(%rsi, %rdx), %r10
        mov -8(%rsi, %rdx), %r11
        mov %r8, -32(%rdi, %rdx)
        mov %r9, -24(%rdi, %rdx)
        mov %r10, -16(%rdi, %rdx)
        mov %r11, -8(%rdi, %rdx)
2:      ret
3:      cmp $8, %edx
        jb 5f
        cmp $16, %edx
        jb 4f
        mov (%rsi), %r8
        mov 8(%rsi), %r9
        mov -16(%rsi, %rdx), %r10
        mov -8(%rsi, %rdx), %r11
        mov %r8, (%rdi)
        mov %r9, 8(%rdi)
        mov %r10, -16(%rdi, %rdx)
        mov %r11, -8(%rdi, %rdx)
        ret
4:      mov (%rsi), %r8
        mov -8(%rsi, %rdx), %r9
        mov %r8, (%rdi)
        mov %r9, -8(%rdi, %rdx)
        ret
5:      cmp $4, %edx
        jb 6f
        mov (%rsi), %r8d
        mov -4(%rsi, %rdx), %r9d
        mov %r8d, (%rdi)
        mov %r9d, -4(%rdi, %rdx)
        ret
6:      mov %edx, %ecx
        rep movsb
        ret

        .globl memmove
memmove:
        mov %rdi, %rcx
        sub %rsi, %rcx
        cmp %rdx, %rcx
        jb 1f                           /* to is inside [from, from + size): from the end downwards */
        mov %rsi, %rcx
        sub %rdi, %rcx
        cmp %rdx, %rcx
        jae memcpy                      /* apart */
        mov %rdi, %rax
        mov %rdx, %rcx
        rep movsb
        ret
1:      mov %rdi, %rax
        lea -1(%rdi, %rdx), %rdi
        lea -1(%rsi, %rdx), %rsi
        mov %rdx, %rcx
        std
        rep movsb
        cld
        ret

        .globl memset
        .align 16
memset:
        mov %rdi, %r9
        movzbl %sil, %eax
        mov $0x0101010101010101, %rcx
        imul %rcx, %rax
        cmp $32, %rdx
        jb 3f
1:      mov %rax, (%rdi)
        mov %rax, 8(%rdi)
        mov %rax, 16(%rdi)
        mov %rax, 24(%rdi)
        add $32, %rdi
        sub $32, %rdx
        cmp $32, %rdx
        jae 1b
        mov %rax, -32(%rdi, %rdx)
        mov %rax, -24(%rdi, %rdx)
        mov %rax, -16(%rdi, %rdx)
        mov %rax, -8(%rdi, %rdx)
        mov %r9, %rax
        ret
3:      cmp $8, %edx
        jb 5f
        cmp $16, %edx
        jb 4f
        mov %rax, 8(%rdi)
        mov %rax, -16(%rdi, %rdx)
4:      mov %rax, (%rdi)
        mov %rax, -8(%rdi, %rdx)
        mov %r9, %rax
        ret
5:      mov %edx, %ecx
        rep stosb
        mov %r9, %rax
        ret

        .section .note.GNU-stack, "", @progbits
