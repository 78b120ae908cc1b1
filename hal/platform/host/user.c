/*
 * The program's address space as a table, and threads as contexts of the C library.
 */
#include <stdlib.h>
#include <ucontext.h>

#include "hal/cpu.h"
#include "hal/kernel.h"
#include "hal/memory.h"
#include "hal/string.h"
#include "host.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#include <sanitizer/common_interface_defs.h>
#define __SANITIZE_ADDRESS__ 1
#endif
#endif

#define BUCKETS 4096

struct mapping {
    uintptr_t address;
    hal_phys_t page;
    unsigned flags;
    struct mapping *next;
};

static struct mapping *buckets[BUCKETS];

static struct mapping **slot(uintptr_t address) {
    struct mapping **at = &buckets[(address >> HAL_PAGE_SHIFT) % BUCKETS];
    while (*at && (*at)->address != address)
        at = &(*at)->next;
    return at;
}

void host_forget_user(void) {
    for (unsigned i = 0; i < BUCKETS; i++)
        while (buckets[i]) {
            struct mapping *next = buckets[i]->next;
            free(buckets[i]);
            buckets[i] = next;
        }
}

int hal_user_map(uintptr_t address, hal_phys_t page, unsigned flags) {
    struct mapping **at = slot(address);
    if (address < HAL_USER_FIRST || address >= HAL_USER_END || address & HAL_PAGE_MASK || (flags & HAL_USER_WRITE && flags & HAL_USER_EXECUTE))
        return -HAL_EINVAL;
    if (*at)
        return -HAL_EBUSY;
    *at = calloc(1, sizeof **at);
    if (!*at)
        return -HAL_ENOMEM;
    **at = (struct mapping){address, page, flags, NULL};
    return 0;
}

int hal_user_protect(uintptr_t address, unsigned flags) {
    struct mapping *mapping = *slot(address);
    if (!mapping || (flags & HAL_USER_WRITE && flags & HAL_USER_EXECUTE))
        return -HAL_EINVAL;
    mapping->flags = flags;
    return 0;
}

bool hal_user_lookup(uintptr_t address, hal_phys_t *page, unsigned *flags) {
    const struct mapping *mapping = *slot(address & ~HAL_PAGE_MASK);
    if (!mapping)
        return false;
    *page = mapping->page;
    *flags = mapping->flags;
    return true;
}

uintptr_t hal_user_next(uintptr_t address, uintptr_t end) {
    uintptr_t next = end;
    for (unsigned i = 0; i < BUCKETS; i++)
        for (const struct mapping *mapping = buckets[i]; mapping; mapping = mapping->next)
            if (mapping->address >= address && mapping->address < next)
                next = mapping->address;
    return next;
}

void hal_user_unmap(uintptr_t start, uintptr_t end, void (*gone)(void *, uintptr_t, hal_phys_t, unsigned), void *context) {
    for (unsigned i = 0; i < BUCKETS; i++)
        for (struct mapping **at = &buckets[i]; *at;) {
            struct mapping *mapping = *at;
            if (mapping->address < start || mapping->address >= end) {
                at = &mapping->next;
                continue;
            }
            *at = mapping->next;
            gone(context, mapping->address, mapping->page, mapping->flags);
            free(mapping);
        }
}

int hal_user_move(uintptr_t from, uintptr_t to) {
    struct mapping **at = slot(from), *mapping = *at;
    if (!mapping || *slot(to))
        return -HAL_EINVAL;
    *at = mapping->next;
    mapping->address = to;
    mapping->next = NULL;
    *slot(to) = mapping;
    return 0;
}

/* The byte at `address`, faulted in as the MMU would; NULL: a fault that nobody cured. */
static uint8_t *reach(uintptr_t address, bool write) {
    for (unsigned attempt = 0; attempt < 4; attempt++) {
        const struct mapping *mapping = *slot(address & ~HAL_PAGE_MASK);
        unsigned wanted = write ? HAL_USER_WRITE : HAL_USER_READ | HAL_USER_WRITE | HAL_USER_EXECUTE;
        if (mapping && mapping->flags & wanted)
            return (uint8_t *)hal_phys_to_virt(mapping->page) + (address & HAL_PAGE_MASK);
        if (!kernel_page_fault(address, write, false))
            return NULL;
    }
    return NULL;
}

static size_t copy(uintptr_t user, uint8_t *kernel, size_t size, bool to_user) {
    if (user >= HAL_USER_END || size > HAL_USER_END - user)
        return size;
    while (size > 0) {
        size_t part = HAL_PAGE_SIZE - (user & HAL_PAGE_MASK);
        part = part < size ? part : size;
        uint8_t *memory = reach(user, to_user);
        if (!memory)
            return size;
        if (to_user && kernel)
            memcpy(memory, kernel, part);
        else if (to_user)
            memset(memory, 0, part);
        else
            memcpy(kernel, memory, part);
        user += part;
        kernel = kernel ? kernel + part : NULL;
        size -= part;
    }
    return 0;
}

size_t hal_user_read(void *to, uintptr_t from, size_t size) {
    return copy(from, to, size, false);
}

size_t hal_user_write(uintptr_t to, const void *from, size_t size) {
    return copy(to, (uint8_t *)from, size, true);
}

size_t hal_user_zero(uintptr_t to, size_t size) {
    return copy(to, NULL, size, true);
}

/* Sixteen times what the kernel asks for: sanitized code needs more. */
#define STACK_FACTOR 16

void *hal_stack_create(size_t size) {
    return malloc(size * STACK_FACTOR);
}

void hal_stack_destroy(void *stack, size_t size) {
    (void)size;
    free(stack);
}

struct host_context {
    ucontext_t context;
    void (*entry)(void *);
    void *argument;
    void *stack;
    size_t size;
    void *fake_stack;
};

static struct host_context *starting;

static void begin(void) {
    struct host_context *me = starting;
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_finish_switch_fiber(NULL, NULL, NULL);
#endif
    me->entry(me->argument);
    abort();
}

void hal_context_init(struct hal_context *context, void *stack, size_t stack_size, void (*entry)(void *), void *argument) {
    struct host_context *host = calloc(1, sizeof *host);
    if (!host)
        abort();
    host->entry = entry;
    host->argument = argument;
    host->stack = stack;
    host->size = stack_size * STACK_FACTOR;
    getcontext(&host->context);
    host->context.uc_stack.ss_sp = stack;
    host->context.uc_stack.ss_size = host->size;
    makecontext(&host->context, begin, 0);
    context->stack_pointer = host;
}

void hal_context_switch(struct hal_context *from, struct hal_context *to) {
    if (!from->stack_pointer)
        from->stack_pointer = calloc(1, sizeof(struct host_context));
    struct host_context *leave = from->stack_pointer, *enter = to->stack_pointer;
    starting = enter;
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_start_switch_fiber(&leave->fake_stack, enter->stack, enter->size);
#endif
    swapcontext(&leave->context, &enter->context);
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_finish_switch_fiber(leave->fake_stack, NULL, NULL);
#endif
}

void hal_context_forget(struct hal_context *context) {
    free(context->stack_pointer);
}

size_t hal_fpu_size(void) {
    return 512;
}

void hal_fpu_init(void *area) {
    memset(area, 0, 512);
}

bool hal_fpu_sanitize(void *area) {
    (void)area;
    return true;
}

void hal_context_sync(struct hal_context *context) {
    (void)context;
}

void hal_context_reload(struct hal_context *context) {
    (void)context;
}

void hal_frame_init(struct hal_frame *frame, uintptr_t entry, uintptr_t stack) {
    memset(frame, 0, sizeof *frame);
    frame->rip = entry;
    frame->rsp = stack;
}

void hal_frame_sanitize(struct hal_frame *frame) {
    frame->vector = 0;
}

HAL_NORETURN void hal_user_enter(const struct hal_frame *frame) {
    (void)frame;
    if (host_catches)
        longjmp(host_end, 4);
    abort();
}
