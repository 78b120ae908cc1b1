/* The smallest guest that keeps to the contract of docs/architecture.md, "What passes between host and guest".
 *
 * It says READY on the console, `start` and `exit N` on the control channel, and leaves by the exit port. What it
 * costs is the floor under every figure: QEMU's own start and end. Its command line makes it misbehave in the ways
 * that the tests of the machine room need; the words are done from left to right:
 *
 *   status=N    end with status N (default 0)          burst=N     write N bytes of text to the console
 *   settings    write the settings of fw_cfg           stop        wait for `stop` on the control channel
 *   deaf        wait for ever, hear nothing            reset       triple fault, as a kernel's panic ends
 *   fail        say `fail` and leave                   panic       say `panic` and leave
 *   mute        end without a control line             silent      do not say READY
 *   kill        write a line, then run on for ever     echo        write back each line that is typed, with its number;
 *                                                      an empty one ends it
 */
#include <stdint.h>

enum {
    CONSOLE = 0x3f8,
    CONTROL = 0x2f8,
    EXIT_PORT = 0x501,
    FW_CFG_SELECT = 0x510,
    FW_CFG_DATA = 0x511,
    FW_CFG_FILE_DIR = 0x19,
    LSR = 5,
    LSR_DATA_READY = 0x01,
    LSR_THR_EMPTY = 0x20,
    LINE_MAX = 256,
};

/* Xen public/arch-x86/hvm/start_info.h; only what is read here. */
struct hvm_start_info {
    uint32_t magic;
    uint32_t version;
    uint32_t flags;
    uint32_t module_count;
    uint64_t module_list;
    uint64_t command_line;
};

void floor_main(const struct hvm_start_info *info);
void triple_fault(void);

static void out8(uint16_t port, uint8_t value)
{
    __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static void out16(uint16_t port, uint16_t value)
{
    __asm__ volatile("outw %0, %1" : : "a"(value), "Nd"(port));
}

static uint8_t in8(uint16_t port)
{
    uint8_t value;

    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static void put(uint16_t uart, char character)
{
    while (!(in8((uint16_t)(uart + LSR)) & LSR_THR_EMPTY))
        ;
    out8(uart, (uint8_t)character);
}

static void print(uint16_t uart, const char *text)
{
    while (*text)
        put(uart, *text++);
}

static void print_number(uint16_t uart, uint32_t number)
{
    char digits[10];
    int count = 0;

    do {
        digits[count++] = (char)('0' + number % 10);
        number /= 10;
    } while (number);
    while (count)
        put(uart, digits[--count]);
}

static uint32_t number_of(const char *digits)
{
    uint32_t number = 0;

    while (*digits >= '0' && *digits <= '9')
        number = number * 10 + (uint32_t)(*digits++ - '0');
    return number;
}

static int same(const char *word, const char *other)
{
    while (*word && *word == *other)
        word++, other++;
    return *word == '\0' && *other == '\0';
}

/* The value behind `name=` in `word`, or a null pointer. */
static const char *value_of(const char *word, const char *name)
{
    while (*name && *word == *name)
        word++, name++;
    return *name == '\0' && *word == '=' ? word + 1 : 0;
}

static void leave(void)
{
    out8(EXIT_PORT, 0);
    for (;;)
        __asm__ volatile("hlt");
}

static void burst(uint32_t bytes)
{
    static const char line[] = "all work and no play makes the guest a dull machine, over and over\n";
    const uint32_t length = sizeof line - 1;

    for (uint32_t i = 0; i < bytes; i++)
        put(CONSOLE, line[i % length]);
}

static uint32_t fw_cfg_be32(void)
{
    uint32_t value = 0;

    for (int i = 0; i < 4; i++)
        value = value << 8 | in8(FW_CFG_DATA);
    return value;
}

/* The file directory: a count, then entries of size, selector, reserved, a name of 56 bytes (QEMU fw_cfg.rst). */
static void print_settings(void)
{
    out16(FW_CFG_SELECT, FW_CFG_FILE_DIR);
    for (uint32_t count = fw_cfg_be32(); count; count--) {
        char name[57] = {0};
        uint32_t size = fw_cfg_be32();
        uint32_t selector = fw_cfg_be32() >> 16;

        for (int i = 0; i < 56; i++)
            name[i] = (char)in8(FW_CFG_DATA);
        if (!same(name, "opt/rumpel/settings"))
            continue;
        out16(FW_CFG_SELECT, (uint16_t)selector);
        while (size--) {
            char character = (char)in8(FW_CFG_DATA);
            put(CONSOLE, character ? character : '\n');
        }
        return;
    }
    print(CONSOLE, "no settings\n");
}

/* Takes what has come on the control channel, and answers `renew`; whether it was `stop`. */
static int hear(void)
{
    static char line[LINE_MAX];
    static unsigned length;

    if (!(in8(CONTROL + LSR) & LSR_DATA_READY))
        return 0;
    char character = (char)in8(CONTROL);
    if (character != '\n') {
        if (length < sizeof line - 1)
            line[length++] = character;
        return 0;
    }
    line[length] = '\0';
    for (unsigned i = 0; i < length; i++)
        if (line[i] == ' ')
            line[i] = '\0'; /* neither the seconds of `stop` nor a time and a seed are of use here */
    length = 0;
    if (same(line, "renew"))
        print(CONTROL, "renewed\n");
    return same(line, "stop");
}

static void await_stop(void)
{
    while (!hear())
        ;
}

static void echo(void)
{
    uint32_t number = 1;
    unsigned length = 0;

    for (;;) {
        hear();
        if (!(in8(CONSOLE + LSR) & LSR_DATA_READY))
            continue;
        char character = (char)in8(CONSOLE);
        if (character == '\n' && length == 0)
            return;
        if (length == 0) {
            print_number(CONSOLE, number++);
            print(CONSOLE, ": ");
        }
        put(CONSOLE, character);
        length = character == '\n' ? 0 : length + 1;
    }
}

static void obey(const char *word, uint32_t *status)
{
    const char *value;

    if ((value = value_of(word, "status")))
        *status = number_of(value);
    else if ((value = value_of(word, "burst")))
        burst(number_of(value));
    else if (same(word, "settings"))
        print_settings();
    else if (same(word, "stop"))
        await_stop();
    else if (same(word, "deaf"))
        for (;;)
            __asm__ volatile("cli; hlt");
    else if (same(word, "echo"))
        echo();
    else if (same(word, "reset"))
        triple_fault();
    else if (same(word, "fail"))
        print(CONTROL, "fail there is no program at '/bin/none'\n"), leave();
    else if (same(word, "panic"))
        print(CONTROL, "panic page fault at 0x10\n"), leave();
    else if (same(word, "mute"))
        leave();
    else if (same(word, "kill"))
        for (print(CONSOLE, "answered\n");;)
            __asm__ volatile("pause");
}

static int has_word(const char *words, const char *wanted)
{
    while (*words) {
        const char *end = words, *letter = wanted;

        while (*end && *end != ' ')
            end++;
        for (; words < end && *words == *letter; words++)
            letter++;
        if (words == end && *letter == '\0')
            return 1;
        for (words = end; *words == ' ';)
            words++;
    }
    return 0;
}

void floor_main(const struct hvm_start_info *info)
{
    const char *words = (const char *)(uintptr_t)info->command_line;
    uint32_t status = 0;

    if (!words)
        words = "";
    print(CONTROL, "start\n");
    if (!has_word(words, "silent"))
        print(CONSOLE, "READY\n");
    while (*words) {
        char word[LINE_MAX];
        unsigned length = 0;

        for (; *words && *words != ' '; words++)
            if (length < sizeof word - 1)
                word[length++] = *words;
        word[length] = '\0';
        obey(word, &status);
        while (*words == ' ')
            words++;
    }
    print(CONTROL, "exit ");
    print_number(CONTROL, status);
    print(CONTROL, "\n");
    leave();
}
