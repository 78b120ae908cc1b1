"""A machine under GDB: with the symbols of its kernel and of its program, wherever they were loaded.

`symbols` says what GDB is to know, `kallsyms` finds the symbols of a stripped Linux kernel, `elffile` reads and writes
symbol tables, `session` puts both command lines together and runs them, `inside` runs in GDB's own Python. Nothing is
imported here.
"""
