/*
 * /proc: the few files that programs read. Each is made when it is opened.
 */
#include "hal/boot.h"
#include "hal/clock.h"
#include "hal/string.h"
#include "nano/errno.h"
#include "nano/heap.h"
#include "nano/init.h"
#include "nano/page.h"
#include "nano/process.h"
#include "nano/program.h"
#include "nano/settings.h"
#include "nano/thread.h"
#include "nano/vfs.h"
#include "nano/vm.h"

static struct filesystem proc_filesystem = {"proc", 5, 0x9fa0, true, 0};

/* A text that grows. `failed`: no memory; then the file is empty. */
struct text {
    char *bytes;
    size_t length, room;
    bool failed;
};

static void add(struct text *text, const char *format, ...) HAL_PRINTF(2, 3);
static void add(struct text *text, const char *format, ...) {
    char line[PATH_MAX + 128];
    va_list arguments;
    va_start(arguments, format);
    size_t length = hal_vformat(line, sizeof line, format, arguments);
    va_end(arguments);
    if (length >= sizeof line)
        length = sizeof line - 1;
    if (text->length + length > text->room) {
        size_t room = (text->length + length) * 2;
        char *grown = krealloc(text->bytes, room);
        if (!grown) {
            text->failed = true;
            return;
        }
        text->bytes = grown;
        text->room = room;
    }
    memcpy(text->bytes + text->length, line, length);
    text->length += length;
}

static void make_maps(struct text *text) {
    char path[256];
    struct vma *area;
    for (size_t i = 0; (area = vm_at(i)); i++) {
        bool named = area->node && !area->label && vfs_path(area->node, path, sizeof path) > 0;
        add(text, "%08lx-%08lx %c%c%c%c %08lx 00:%02lx %lu %s%s\n", area->start, area->end, area->protection & PROT_READ ? 'r' : '-',
            area->protection & PROT_WRITE ? 'w' : '-', area->protection & PROT_EXEC ? 'x' : '-', area->shared ? 's' : 'p',
            area->page * PAGE_SIZE, area->node ? area->node->filesystem->device : 0, area->node ? area->node->inode : 0,
            area->label || named ? "                          " : "", area->label ? area->label : named ? path : "");
    }
}

static void make_status(struct text *text) {
    size_t total = vm_total_pages() * 4, resident = vm_resident_pages() * 4;
    add(text, "Name:\t%s\nUmask:\t%04o\nState:\tR (running)\nTgid:\t%d\nPid:\t%d\nPPid:\t1\nTracerPid:\t0\nUid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\n",
        process.name, process.umask, PROGRAM_PID, PROGRAM_PID);
    add(text, "VmPeak:\t%8lu kB\nVmSize:\t%8lu kB\nVmHWM:\t%8lu kB\nVmRSS:\t%8lu kB\nThreads:\t%u\n", total, total, resident, resident,
        process.threads);
    add(text, "Cpus_allowed:\t1\nCpus_allowed_list:\t0\n");
}

static void make_stat(struct text *text) {
    add(text, "%d (%s) R 1 %d %d 0 -1 4194304 0 0 0 0 0 0 0 0 20 0 %u 0 %lu %lu %lu 18446744073709551615", PROGRAM_PID, process.name, PROGRAM_PID,
        PROGRAM_PID, process.threads, process.started / 10000000, vm_total_pages() * PAGE_SIZE, vm_resident_pages());
    for (unsigned i = 26; i <= 52; i++)
        add(text, " 0");
    add(text, "\n");
}

static void make_statm(struct text *text) {
    add(text, "%lu %lu 0 0 0 0 0\n", vm_total_pages(), vm_resident_pages());
}

static void make_cmdline(struct text *text) {
    const char *value = settings_get("program");
    add(text, "%s%c", value ? value : "", '\0');
    for (size_t i = 0; (value = settings_each("arg", i)); i++)
        add(text, "%s%c", value, '\0');
}

static void make_environ(struct text *text) {
    const char *value;
    for (size_t i = 0; (value = settings_each("env", i)); i++)
        add(text, "%s%c", value, '\0');
}

static void make_comm(struct text *text) {
    add(text, "%s\n", process.name);
}

static void make_limits(struct text *text) {
    add(text, "%-25s %-20s %-20s %-10s\n%-25s %-20u %-20u %-10s\n", "Limit", "Soft Limit", "Hard Limit", "Units", "Max open files", FD_LIMIT,
        FD_LIMIT, "files");
}

static void make_meminfo(struct text *text) {
    add(text, "MemTotal:       %8lu kB\nMemFree:        %8lu kB\nMemAvailable:   %8lu kB\nBuffers:               0 kB\nCached:                0 kB\n", page_total() * 4,
        page_available() * 4, page_available() * 4);
    add(text, "SwapTotal:             0 kB\nSwapFree:              0 kB\n");
}

static void make_cpuinfo(struct text *text) {
    add(text, "processor\t: 0\nvendor_id\t: unknown\ncpu family\t: 6\nmodel\t\t: 0\nmodel name\t: x86-64\ncpu cores\t: 1\nsiblings\t: 1\n\n");
}

static void make_uptime(struct text *text) {
    uint64_t centiseconds = hal_clock_monotonic() / 10000000;
    add(text, "%lu.%02lu 0.00\n", centiseconds / 100, centiseconds % 100);
}

static void make_loadavg(struct text *text) {
    add(text, "0.00 0.00 0.00 1/%u %d\n", process.threads, PROGRAM_PID);
}

static void make_version(struct text *text) {
    add(text, "Linux version 6.1.0-nano (nano) #1 nano\n");
}

static void make_system_stat(struct text *text) {
    uint64_t ticks = hal_clock_monotonic() / 10000000;
    add(text, "cpu  %lu 0 0 0 0 0 0 0 0 0\ncpu0 %lu 0 0 0 0 0 0 0 0 0\n", ticks, ticks);
}

static void make_mounts(struct text *text) {
    const char *type = vfs_root->filesystem->type;
    add(text, "%s / %s ro 0 0\ntmpfs /tmp tmpfs rw 0 0\ntmpfs /run tmpfs rw 0 0\ntmpfs /dev/shm tmpfs rw 0 0\nproc /proc proc ro 0 0\n", type, type);
}

static void make_filesystems(struct text *text) {
    add(text, "nodev\trootfs\nnodev\ttmpfs\nnodev\tproc\n");
}

static void make_overcommit(struct text *text) {
    add(text, "0\n");
}
static void make_max_map_count(struct text *text) {
    add(text, "65530\n");
}
static void make_somaxconn(struct text *text) {
    add(text, "4096\n");
}
static void make_pid_max(struct text *text) {
    add(text, "32768\n");
}
static void make_hostname(struct text *text) {
    add(text, "%s\n", process.hostname);
}
static void make_osrelease(struct text *text) {
    add(text, "6.1.0-nano\n");
}

static int64_t text_read(struct file *file, struct iter *to, uint64_t offset) {
    const struct text *text = file->data;
    if (offset >= text->length)
        return 0;
    size_t size = text->length - offset < to->left ? text->length - offset : to->left;
    size_t done = iter_put(to, text->bytes + offset, size);
    return done || !size ? (int64_t)done : -EFAULT;
}

static void text_release(struct file *file) {
    struct text *text = file->data;
    if (text)
        kfree(text->bytes);
    kfree(text);
}

static const struct file_ops text_ops = {.read = text_read, .release = text_release, .seekable = true};

static int text_open(struct node *node, struct file *file) {
    struct text *text = kzalloc(sizeof *text);
    if (!text)
        return -ENOMEM;
    void (*make)(struct text *) = (void (*)(struct text *))(uintptr_t)node->private_data;
    make(text);
    file->data = text;
    return text->failed ? -ENOMEM : 0;
}

static const struct node_ops text_node = {.file_ops = &text_ops, .open = text_open};

/* A link's target goes with the last who looks at it: who follows it may wait for a disk, and who copies it too. */
static void link_free(struct node *node) {
    kfree((void *)node->data);
}

static const struct node_ops link_ops = {.free = link_free};

/* /proc/self/fd: links to what is open. The children are made anew at each look. */
static int fd_link(struct node *directory, size_t fd) {
    char name[16], target[PATH_MAX];
    struct file *file = fd_get(fd);
    if (!file)
        return -ENOENT;
    if (!file->node || vfs_path(file->node, target, sizeof target) < 0)
        hal_format(target, sizeof target, file->ops->is_socket ? "socket:[%lu]" : "anon_inode:[%lu]", (uintptr_t)file >> 4 & 0xffffff);
    file_put(file);
    hal_format(name, sizeof name, "%lu", fd);
    char *copy = kstrdup(target);
    struct node *node = copy ? node_create(&proc_filesystem, &link_ops, name, strlen(name), S_IFLNK | 0700) : NULL;
    if (!node) {
        kfree(copy);
        return -ENOMEM;
    }
    node->data = copy;
    node->size = strlen(copy);
    node_attach(directory, node);
    return 0;
}

static void fd_forget(struct node *directory) {
    while (directory->children) {
        struct node *child = directory->children;
        directory->children = child->next;
        child->removed = true;
        node_put(child);
    }
}

static int fd_lookup(struct node *directory, const char *name, size_t length) {
    size_t fd = 0;
    for (size_t i = 0; i < length; i++) {
        if (name[i] < '0' || name[i] > '9' || fd > FD_LIMIT)
            return -ENOENT;
        fd = fd * 10 + (size_t)(name[i] - '0');
    }
    fd_forget(directory);
    return fd_link(directory, fd);
}

static int fd_fill(struct node *directory) {
    fd_forget(directory);
    for (size_t fd = fd_next(0); fd != SIZE_MAX; fd = fd_next(fd + 1)) {
        int status = fd_link(directory, fd);
        if (status != 0)
            return status;
    }
    return 0;
}

static const struct node_ops fd_ops = {.lookup = fd_lookup, .fill = fd_fill};

/* /proc/self/exe. */
static int exe_lookup(struct node *directory, const char *name, size_t length) {
    if (length != 3 || strncmp(name, "exe", 3) != 0 || !process.executable)
        return -ENOENT;
    char target[PATH_MAX];
    if (vfs_path(process.executable, target, sizeof target) < 0)
        return -ENOENT;
    char *copy = kstrdup(target);
    struct node *node = copy ? node_create(&proc_filesystem, &text_node, "exe", 3, S_IFLNK | 0777) : NULL;
    if (!node) {
        kfree(copy);
        return -ENOMEM;
    }
    node->data = copy;
    node->size = strlen(copy);
    node_attach(directory, node);
    return 0;
}

static const struct node_ops self_ops = {.lookup = exe_lookup};
static const struct node_ops directory_ops = {0};

static struct node *make(struct node *parent, const char *name, const struct node_ops *ops, uint32_t mode, const void *data) {
    struct node *node = node_create(&proc_filesystem, ops, name, strlen(name), mode);
    if (!node)
        program_fail(FAIL_MEMORY, "The machine has too little memory for the folder '/proc'.");
    node->complete = !ops->lookup;
    if ((mode & S_IFMT) == S_IFLNK)
        node->data = data;
    else
        node->private_data = (void *)data;
    if (parent)
        node_attach(parent, node);
    return node;
}

struct entry {
    const char *name;
    void (*make)(struct text *text);
};

static void make_all(struct node *parent, const struct entry *entries, size_t count) {
    for (size_t i = 0; i < count; i++)
        make(parent, entries[i].name, &text_node, S_IFREG | 0444, (const void *)(uintptr_t)entries[i].make);
}

static void proc_init(void) {
    static const struct entry top[] = {{"meminfo", make_meminfo}, {"cpuinfo", make_cpuinfo}, {"uptime", make_uptime}, {"loadavg", make_loadavg},
                                       {"version", make_version}, {"stat", make_system_stat}, {"mounts", make_mounts}, {"filesystems", make_filesystems}};
    static const struct entry own[] = {{"maps", make_maps}, {"status", make_status}, {"stat", make_stat}, {"statm", make_statm}, {"cmdline", make_cmdline},
                                       {"environ", make_environ}, {"comm", make_comm}, {"limits", make_limits}, {"mounts", make_mounts}};
    static const struct entry vm[] = {{"overcommit_memory", make_overcommit}, {"max_map_count", make_max_map_count}};
    static const struct entry kernel[] = {{"pid_max", make_pid_max}, {"hostname", make_hostname}, {"osrelease", make_osrelease}};
    static const struct entry core[] = {{"somaxconn", make_somaxconn}};
    struct node *root = make(NULL, "proc", &directory_ops, S_IFDIR | 0555, NULL);
    make_all(root, top, sizeof top / sizeof top[0]);
    struct node *self = make(root, "2", &self_ops, S_IFDIR | 0555, NULL);
    make_all(self, own, sizeof own / sizeof own[0]);
    make(self, "fd", &fd_ops, S_IFDIR | 0500, NULL);
    make(root, "self", &directory_ops, S_IFLNK | 0777, "2");
    make(root, "thread-self", &directory_ops, S_IFLNK | 0777, "2");
    struct node *sys = make(root, "sys", &directory_ops, S_IFDIR | 0555, NULL);
    make_all(make(sys, "vm", &directory_ops, S_IFDIR | 0555, NULL), vm, sizeof vm / sizeof vm[0]);
    make_all(make(sys, "kernel", &directory_ops, S_IFDIR | 0555, NULL), kernel, sizeof kernel / sizeof kernel[0]);
    make_all(make(make(sys, "net", &directory_ops, S_IFDIR | 0555, NULL), "core", &directory_ops, S_IFDIR | 0555, NULL), core,
             sizeof core / sizeof core[0]);
    vfs_mount("/proc", root);
}
INITCALL(INIT_MOUNTS, proc_init);
