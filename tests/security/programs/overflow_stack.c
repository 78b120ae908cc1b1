/* Recurses until its stack is used up. */
#include <string.h>
static int deeper(int depth) {
    volatile char room[4096];
    memset((void *)room, depth, sizeof room);
    return deeper(depth + 1) + room[depth & 4095];
}
int main(void) {
    return deeper(0);
}
