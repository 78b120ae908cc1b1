/* Reads the kernel's memory. */
int main(void) {
    volatile unsigned long kernel = 0xffffffff80100000;
    return *(volatile unsigned char *)kernel;
}
