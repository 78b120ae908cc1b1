/* Reads physical memory where the kernel sees it. */
int main(void) {
    volatile unsigned long direct = 0xffff800000100000;
    return *(volatile unsigned char *)direct;
}
