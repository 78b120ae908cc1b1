#include "nano/random.h"
void random_init(void) {
}
