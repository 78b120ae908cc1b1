#include "lz4.h"

#include "hal/string.h"

#define REACH ((size_t)64 << 10)
#define LEAST_MATCH 4

struct decoder {
    const uint8_t *at, *end;
    uint8_t *window;
    size_t filled, given; /* of the window; given <= filled */
    size_t left;          /* bytes of output still to be made */
    lz4_sink *sink;
    void *context;
    bool stopped;
};

/* Gives what the sink has not had yet. */
static void flush(struct decoder *d) {
    if (!d->stopped && d->filled > d->given)
        d->stopped = !d->sink(d->context, d->window + d->given, d->filled - d->given);
    d->given = d->filled;
}

/* Room for at least one byte; the last REACH bytes stay. */
static void make_room(struct decoder *d) {
    if (d->filled < LZ4_WINDOW)
        return;
    flush(d);
    memcpy(d->window, d->window + LZ4_WINDOW - REACH, REACH);
    d->filled = d->given = REACH;
}

/* A length of 15 in the token goes on in bytes, up to one that is not 255. */
static bool read_length(struct decoder *d, size_t *length) {
    if (*length != 15)
        return true;
    uint8_t byte;
    do {
        if (d->at == d->end)
            return false;
        byte = *d->at++;
        *length += byte; /* at most 255 for each byte of input: cannot overflow */
    } while (byte == 255);
    return true;
}

static bool copy_literals(struct decoder *d, size_t length) {
    if (length > (size_t)(d->end - d->at))
        return false;
    if (length > d->left)
        length = d->left;
    d->left -= length;
    while (length > 0 && !d->stopped) {
        make_room(d);
        size_t now = LZ4_WINDOW - d->filled < length ? LZ4_WINDOW - d->filled : length;
        memcpy(d->window + d->filled, d->at, now);
        d->filled += now;
        d->at += now;
        length -= now;
    }
    return true;
}

static bool copy_match(struct decoder *d, size_t offset, size_t length) {
    if (offset == 0 || offset > d->filled)
        return false;
    if (length > d->left)
        length = d->left;
    d->left -= length;
    while (length > 0 && !d->stopped) {
        make_room(d);
        uint8_t *to = d->window + d->filled;
        const uint8_t *from = to - offset;
        size_t now = LZ4_WINDOW - d->filled < length ? LZ4_WINDOW - d->filled : length;
        d->filled += now;
        length -= now;
        /* A match may overlap what it makes: then the bytes repeat, and must be copied in order. */
        if (offset >= now) {
            memcpy(to, from, now);
            continue;
        }
        if (offset >= 8)
            for (; now >= 8; now -= 8, to += 8, from += 8)
                memcpy(to, from, 8);
        while (now-- > 0)
            *to++ = *from++;
    }
    return true;
}

int lz4_decode(const uint8_t *input, size_t input_size, size_t size, uint8_t *window, lz4_sink *sink, void *context) {
    struct decoder d = {input, input + input_size, window, 0, 0, size, sink, context, false};
    while (d.left > 0 && !d.stopped) {
        if (d.at == d.end)
            return -HAL_EIO;
        uint8_t token = *d.at++;
        size_t length = token >> 4;
        if (!read_length(&d, &length) || !copy_literals(&d, length))
            return -HAL_EIO;
        if (d.left == 0 || d.stopped)
            break;
        if (d.end - d.at < 2)
            return -HAL_EIO;
        size_t offset = (size_t)(d.at[0] | d.at[1] << 8);
        d.at += 2;
        length = token & 15;
        if (!read_length(&d, &length) || !copy_match(&d, offset, length + LEAST_MATCH))
            return -HAL_EIO;
    }
    flush(&d);
    return 0;
}
