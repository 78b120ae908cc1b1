/* For lwIP. */
#ifndef NANO_STRING_H
#define NANO_STRING_H

#include "hal/string.h"

#endif
