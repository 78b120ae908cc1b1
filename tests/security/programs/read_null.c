/* Reads the null page. */
int main(void) {
    volatile unsigned long address = 0;
    return *(volatile unsigned char *)address;
}
