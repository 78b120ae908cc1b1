#include "hal/string.h"

struct sink {
    char *buffer;
    size_t size;
    size_t length;
};

static void put(struct sink *sink, char c) {
    if (sink->length + 1 < sink->size)
        sink->buffer[sink->length] = c;
    sink->length++;
}

static void put_padded(struct sink *sink, const char *text, size_t length, size_t width, bool left, char fill) {
    size_t pad = width > length ? width - length : 0;
    if (!left && fill == '0' && length > 0 && *text == '-') {
        put(sink, *text++);
        length--;
    }
    for (size_t i = 0; !left && i < pad; i++)
        put(sink, fill);
    for (size_t i = 0; i < length; i++)
        put(sink, text[i]);
    for (size_t i = 0; left && i < pad; i++)
        put(sink, ' ');
}

static void put_number(struct sink *sink, uint64_t value, unsigned base, bool negative, bool upper, size_t width, bool left,
                       char fill) {
    char digits[24];
    size_t at = sizeof digits;
    const char *alphabet = upper ? "0123456789ABCDEF" : "0123456789abcdef";
    do {
        digits[--at] = alphabet[value % base];
        value /= base;
    } while (value);
    if (negative)
        digits[--at] = '-';
    put_padded(sink, digits + at, sizeof digits - at, width, left, fill);
}

/* The lengths h and hh are accepted and need nothing: such arguments arrive as int, and are converted after. */
static uint64_t unsigned_argument(va_list *arguments, int longs, int shorts) {
    uint64_t value = longs ? va_arg(*arguments, unsigned long) : va_arg(*arguments, unsigned int);
    if (shorts == 1)
        value = (uint16_t)value;
    else if (shorts >= 2)
        value = (uint8_t)value;
    return value;
}

size_t hal_vformat(char *buffer, size_t size, const char *format, va_list original) {
    struct sink sink = {buffer, size, 0};
    va_list arguments;
    va_copy(arguments, original);
    for (; *format; format++) {
        if (*format != '%') {
            put(&sink, *format);
            continue;
        }
        format++;
        bool left = false;
        char fill = ' ';
        for (; *format == '-' || *format == '0' || *format == '#'; format++) {
            if (*format == '-')
                left = true;
            else if (*format == '0')
                fill = '0';
        }
        size_t width = 0, precision = SIZE_MAX;
        if (*format == '*') {
            int given = va_arg(arguments, int);
            width = given > 0 ? (size_t)given : 0;
            format++;
        }
        for (; *format >= '0' && *format <= '9'; format++)
            width = width * 10 + (size_t)(*format - '0');
        if (*format == '.') {
            precision = 0;
            format++;
            if (*format == '*') {
                int given = va_arg(arguments, int);
                precision = given >= 0 ? (size_t)given : SIZE_MAX;
                format++;
            }
            for (; *format >= '0' && *format <= '9'; format++)
                precision = precision * 10 + (size_t)(*format - '0');
        }
        int longs = 0, shorts = 0;
        for (;; format++) {
            if (*format == 'l' || *format == 'z')
                longs++;
            else if (*format == 'h')
                shorts++;
            else
                break;
        }
        switch (*format) {
        case 'd':
        case 'i': {
            int64_t value = longs ? va_arg(arguments, long) : va_arg(arguments, int);
            put_number(&sink, value < 0 ? 0 - (uint64_t)value : (uint64_t)value, 10, value < 0, false, width, left, fill);
            break;
        }
        case 'u':
            put_number(&sink, unsigned_argument(&arguments, longs, shorts), 10, false, false, width, left, fill);
            break;
        case 'x':
        case 'X':
            put_number(&sink, unsigned_argument(&arguments, longs, shorts), 16, false, *format == 'X', width, left, fill);
            break;
        case 'p':
            put(&sink, '0');
            put(&sink, 'x');
            put_number(&sink, (uintptr_t)va_arg(arguments, void *), 16, false, false, 0, false, ' ');
            break;
        case 'c':
            put(&sink, (char)va_arg(arguments, int));
            break;
        case 's': {
            const char *text = va_arg(arguments, const char *);
            if (!text)
                text = "(null)";
            put_padded(&sink, text, strnlen(text, precision), width, left, ' ');
            break;
        }
        case '\0':
            format--;
            break;
        default:
            put(&sink, *format);
        }
    }
    va_end(arguments);
    if (size)
        buffer[sink.length < size ? sink.length : size - 1] = '\0';
    return sink.length;
}

size_t hal_format(char *buffer, size_t size, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    size_t length = hal_vformat(buffer, size, format, arguments);
    va_end(arguments);
    return length;
}
