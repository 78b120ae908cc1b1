/* Jumps to the kernel's first instruction. */
int main(void) {
    volatile unsigned long kernel = 0xffffffff80100000;
    ((void (*)(void))kernel)();
    return 0;
}
