/* Writes to its own code. */
int main(void) {
    *(volatile unsigned char *)(unsigned long)main = 0xc3;
    return 0;
}
