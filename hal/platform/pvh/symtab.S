/* The compact symbol table (see crash.c); empty in the first of the two links. */
        .section .symtab_compact, "a"
        .globl pvh_symbols
        .align 8
pvh_symbols:
#ifdef SYMBOLS
        .incbin SYMBOLS
#else
        .long 0
#endif
        .section .note.GNU-stack, "", @progbits
