/* Asks where the kernel's descriptor table is (UMIP). */
int main(void) {
    unsigned char pointer[10];
    __asm__ volatile("sgdt %0" : "=m"(pointer));
    return 0;
}
