/* Calls bytes in its data. */
static unsigned char code[] = {0xc3};
int main(void) {
    ((void (*)(void))(unsigned long)code)();
    return 0;
}
