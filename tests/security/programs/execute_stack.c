/* Calls bytes on its stack. */
int main(void) {
    volatile unsigned char code[] = {0xc3};
    ((void (*)(void))(unsigned long)code)();
    return 0;
}
