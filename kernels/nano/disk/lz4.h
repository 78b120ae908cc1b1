/*
 * The LZ4 block format (lz4_Block_format.md of the LZ4 project): a decoder in bounded memory for input that is not trusted.
 */
#ifndef NANO_LZ4_H
#define NANO_LZ4_H

#include "hal/base.h"

#define LZ4_WINDOW ((size_t)128 << 10) /* twice as far as a match reaches back */

/* Takes the next bytes of the output, in order. False: no more is wanted. Must not block: the window is used again. */
typedef bool lz4_sink(void *context, const uint8_t *bytes, size_t size);

/*
 * Decodes until `size` bytes were given to `sink`, or it wants no more. `window` has LZ4_WINDOW bytes. 0, or -HAL_EIO
 * where the input is malformed or ends too early; then the sink may have had the bytes before that place.
 */
int lz4_decode(const uint8_t *input, size_t input_size, size_t size, uint8_t *window, lz4_sink *sink, void *context);

#endif
