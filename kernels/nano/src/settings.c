#include "nano/settings.h"
void settings_init(void) {
}
