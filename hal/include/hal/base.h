/*
 * What every header of the HAL rests on: fixed-width types and a few attributes. No libc types.
 *
 * The HAL has two sides. Functions named `hal_*` are provided by the platform (hal/platform/pvh, hal/platform/host) and
 * called by the kernel. Functions named `kernel_*` (hal/kernel.h) are provided by the kernel and called by the platform.
 *
 * One CPU. Interrupts are open only while the program runs in ring 3 and inside hal_idle(); all kernel code, interrupt
 * handlers included, therefore runs with interrupts closed and is never interrupted by other kernel code.
 *
 * Unless a function says otherwise it does not block (it gives the CPU to no other thread), may be called in any context,
 * interrupt handlers included, and keeps no pointer that it is given. Sizes are bytes, times nanoseconds. A device or driver
 * that was registered, and an interrupt handler that was connected, stay until the machine ends.
 *
 * Errors are negative Linux error numbers (nano/errno.h has the kernel's list); the few that the HAL itself returns are
 * below.
 */
#ifndef HAL_BASE_H
#define HAL_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HAL_EIO 5
#define HAL_ENXIO 6
#define HAL_ENOMEM 12
#define HAL_EFAULT 14
#define HAL_EBUSY 16
#define HAL_ENODEV 19
#define HAL_EINVAL 22
#define HAL_ENOSPC 28
#define HAL_ETIMEDOUT 110

#define HAL_PAGE_SHIFT 12
#define HAL_PAGE_SIZE ((size_t)1 << HAL_PAGE_SHIFT)
#define HAL_PAGE_MASK (HAL_PAGE_SIZE - 1)

/* A physical address, in bytes. */
typedef uint64_t hal_phys_t;

#define HAL_NORETURN __attribute__((noreturn))
/* A function that a debugger looks for: the optimizer leaves it where it is, with the arguments that it has. */
#if __has_attribute(noipa)
#define HAL_LANDMARK __attribute__((noipa))
#else
#define HAL_LANDMARK __attribute__((noinline))
#endif
/* Left as it is where -ftrivial-auto-var-init would clear it: for arrays of which only what was written is read. */
#define HAL_UNINITIALIZED __attribute__((uninitialized))
#define HAL_PRINTF(text, rest) __attribute__((format(printf, text, rest)))

#endif
