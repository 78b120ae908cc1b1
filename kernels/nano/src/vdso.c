#include "nano/vdso.h"

void vdso_map(void) {
}
