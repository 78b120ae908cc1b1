/*
 * The compiler and the kernel, as lwIP wants to see them.
 */
#ifndef NANO_LWIP_ARCH_CC_H
#define NANO_LWIP_ARCH_CC_H

#include "hal/boot.h"
#if __STDC_HOSTED__ /* the host platform: lwIP must not make an ssize_t of its own */
#include <limits.h>
#include <sys/types.h>
#endif

#define LWIP_NO_INTTYPES_H 1
#define LWIP_NO_LIMITS_H 1
#define LWIP_NO_UNISTD_H 1
#define LWIP_NO_CTYPE_H 1
#define X8_F "02x"
#define U16_F "u"
#define S16_F "d"
#define X16_F "x"
#define U32_F "u"
#define S32_F "d"
#define X32_F "x"
#define SZT_F "zu"

#define LWIP_PLATFORM_DIAG(message)
#define LWIP_PLATFORM_ASSERT(message) hal_panic("lwIP: %s", message)

#endif
