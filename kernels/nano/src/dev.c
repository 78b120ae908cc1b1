/*
 * /dev: null, zero, full, random, urandom, console, tty; stdin, stdout, stderr.
 */
#include "hal/console.h"
#include "hal/driver.h"
#include "hal/log.h"
#include "hal/string.h"
#include "nano/errno.h"
#include "nano/heap.h"
#include "nano/init.h"
#include "nano/random.h"
#include "nano/user.h"
#include "nano/vfs.h"

/* Linux include/uapi/asm-generic/ioctls.h, termbits.h. */
enum { TCGETS = 0x5401, TCSETS, TCSETSW, TCSETSF, TIOCGWINSZ = 0x5413, FIONREAD = 0x541b };
enum { ISTRIP = 0x20, INLCR = 0x40, IGNCR = 0x80, ICRNL = 0x100, IXON = 0x400 }; /* of c_iflag */
enum { OPOST = 1 };                                                             /* of c_oflag */
enum { B115200 = 0x1002, CS8 = 0x30, CREAD = 0x80, CLOCAL = 0x800 };            /* of c_cflag */
enum { ISIG = 1, ICANON = 2, ECHO = 8 };                                        /* of c_lflag */
enum { VMIN = 6 };
#define INPUT_SIZE 1024

struct termios {
    uint32_t iflag, oflag, cflag, lflag;
    uint8_t line, cc[19];
};

struct winsize {
    uint16_t rows, columns, width, height;
};

static struct filesystem dev_filesystem = {"devtmpfs", 3, 0x01021994, false, 0};

static int64_t null_read(struct file *file, struct iter *to, uint64_t offset) {
    (void)file;
    (void)to;
    (void)offset;
    return 0;
}

static int64_t null_write(struct file *file, struct iter *from, uint64_t offset) {
    (void)file;
    (void)offset;
    int64_t size = (int64_t)from->left;
    iter_advance(from, from->left);
    return size;
}

static int64_t zero_read(struct file *file, struct iter *to, uint64_t offset) {
    (void)file;
    (void)offset;
    size_t size = to->left, done = iter_zero(to, size);
    return done || !size ? (int64_t)done : -EFAULT;
}

static int64_t full_write(struct file *file, struct iter *from, uint64_t offset) {
    (void)file;
    (void)offset;
    return from->left ? -ENOSPC : 0;
}

/* The console. Input is what the drivers bring: whole bytes, no line editing. */
static char input[INPUT_SIZE];
static size_t input_start, input_length;
static struct waitq input_waitq = WAITQ_INIT(input_waitq);

static void console_input(const char *text, size_t length) {
    for (size_t i = 0; i < length && input_length < INPUT_SIZE; i++)
        input[(input_start + input_length++) % INPUT_SIZE] = text[i];
    waitq_wake(&input_waitq, POLLIN | POLLRDNORM);
}

static bool has_input(void *context) {
    (void)context;
    return input_length > 0;
}

static int64_t console_read(struct file *file, struct iter *to, uint64_t offset) {
    (void)offset;
    if (!hal_console_first())
        return 0; /* nobody can type: the end of the input */
    if (!to->left)
        return 0;
    if (!input_length && file->flags & O_NONBLOCK)
        return -EAGAIN;
    int status = wait_until(&input_waitq, has_input, NULL, HAL_FOREVER);
    if (status != 0)
        return status;
    /* Taken before the copy, which may block: another thread reads what follows. */
    char chunk[256];
    size_t now = 0;
    for (; now < sizeof chunk && now < to->left && input_length > 0; now++, input_length--) {
        chunk[now] = input[input_start];
        input_start = (input_start + 1) % INPUT_SIZE;
    }
    size_t done = iter_put(to, chunk, now);
    return done ? (int64_t)done : -EFAULT;
}

/* By the first device that writes; what it does not take, and all where there is none, by the platform's log. */
static void console_put(const char *text, size_t length) {
    struct hal_console *console = hal_console_first();
    while (console && !console->ops->write)
        console = console->next;
    size_t done = console ? console->ops->write(console, text, length) : 0;
    if (done < length)
        hal_log(text + done, length - done);
}

static int64_t console_write(struct file *file, struct iter *from, uint64_t offset) {
    (void)file;
    (void)offset;
    char chunk[256];
    int64_t total = 0;
    while (from->left) {
        size_t now = from->left < sizeof chunk ? from->left : sizeof chunk;
        size_t done = iter_get(from, chunk, now);
        console_put(chunk, done);
        total += (int64_t)done;
        if (done < now)
            return total ? total : -EFAULT;
    }
    return total;
}

static unsigned console_poll(struct file *file) {
    (void)file;
    return POLLOUT | POLLWRNORM | (input_length || !hal_console_first() ? POLLIN | POLLRDNORM : 0);
}

/* A terminal in raw mode, which it stays in: no byte is echoed, changed or made a signal of. */
static int64_t console_ioctl(struct file *file, unsigned request, uintptr_t argument) {
    static const struct termios raw = {.cflag = B115200 | CS8 | CREAD | CLOCAL, .cc[VMIN] = 1};
    static const struct winsize unknown;
    int waiting = (int)input_length;
    struct termios wanted;
    (void)file;
    switch (request) {
    case TCGETS:
        return copy_to_user(argument, &raw, sizeof raw);
    case TCSETS:
    case TCSETSW:
    case TCSETSF:
        if (copy_from_user(&wanted, argument, sizeof wanted) != 0)
            return -EFAULT;
        return wanted.iflag & (ISTRIP | INLCR | IGNCR | ICRNL | IXON) || wanted.oflag & OPOST ||
                       wanted.lflag & (ISIG | ICANON | ECHO)
                   ? -EINVAL
                   : 0;
    case TIOCGWINSZ:
        return copy_to_user(argument, &unknown, sizeof unknown);
    case FIONREAD:
        return copy_to_user(argument, &waiting, sizeof waiting);
    default:
        return -ENOTTY;
    }
}

static const struct file_ops null_ops = {.read = null_read, .write = null_write, .seekable = true};
static const struct file_ops zero_ops = {.read = zero_read, .write = null_write, .seekable = true};
static const struct file_ops full_ops = {.read = zero_read, .write = full_write, .seekable = true};
static const struct file_ops random_ops = {.read = random_read, .write = null_write, .seekable = true};
static const struct file_ops console_ops = {
    .read = console_read, .write = console_write, .poll = console_poll, .ioctl = console_ioctl};

#define DEVICE(variable, ops) static const struct node_ops variable = {.file_ops = &(ops)}
DEVICE(null_node, null_ops);
DEVICE(zero_node, zero_ops);
DEVICE(full_node, full_ops);
DEVICE(random_node, random_ops);
DEVICE(console_node, console_ops);

static void add(struct node *directory, const char *name, const struct node_ops *ops, uint32_t mode, uint64_t device, const char *target) {
    struct node *node = node_create(&dev_filesystem, ops, name, strlen(name), mode);
    char *copy = target ? kstrdup(target) : NULL;
    if (!node || (target && !copy))
        return;
    node->device = device;
    node->data = copy;
    node->size = target ? strlen(target) : 0;
    node->complete = true;
    node_attach(directory, node);
}

static void dev_init(void) {
    static const struct {
        const char *name;
        const struct node_ops *ops;
        uint64_t device;
    } devices[] = {{"null", &null_node, 0x103},     {"zero", &zero_node, 0x105},     {"full", &full_node, 0x107},
                   {"random", &random_node, 0x108}, {"urandom", &random_node, 0x109}, {"console", &console_node, 0x501},
                   {"tty", &console_node, 0x500}};
    struct node *dev;
    if (vfs_mkdir_path("/dev") != 0 || vfs_lookup(vfs_root, "/dev", LOOKUP_DIRECTORY, &dev, NULL) != 0)
        return;
    for (size_t i = 0; i < sizeof devices / sizeof devices[0]; i++)
        add(dev, devices[i].name, devices[i].ops, S_IFCHR | 0666, devices[i].device, NULL);
    add(dev, "fd", &null_node, S_IFLNK | 0777, 0, "/proc/self/fd");
    add(dev, "stdin", &null_node, S_IFLNK | 0777, 0, "/proc/self/fd/0");
    add(dev, "stdout", &null_node, S_IFLNK | 0777, 0, "/proc/self/fd/1");
    add(dev, "stderr", &null_node, S_IFLNK | 0777, 0, "/proc/self/fd/2");
    node_put(dev);
    for (struct hal_console *console = hal_console_first(); console; console = console->next)
        console->input = console_input;
}
INITCALL(INIT_MOUNTS, dev_init);
