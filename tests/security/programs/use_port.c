/* Writes to the I/O port that ends the machine. */
int main(void) {
    __asm__ volatile("outb %%al, %%dx" : : "a"(0), "d"(0x501));
    return 0;
}
