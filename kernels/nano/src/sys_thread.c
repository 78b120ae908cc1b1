/*
 * Threads of the program and futexes between them: group `threads`.
 */
#include "hal/string.h"
#include "nano/errno.h"
#include "nano/heap.h"
#include "nano/print.h"
#include "nano/process.h"
#include "nano/program.h"
#include "nano/signal.h"
#include "nano/syscall.h"
#include "nano/sys_thread.h"
#include "nano/user.h"

#define CLONE_VM 0x100u
#define CLONE_FS 0x200u
#define CLONE_FILES 0x400u
#define CLONE_SIGHAND 0x800u
#define CLONE_SYSVSEM 0x40000u
#define CLONE_SETTLS 0x80000u
#define CLONE_PARENT_SETTID 0x100000u
#define CLONE_CHILD_CLEARTID 0x200000u
#define CLONE_DETACHED 0x400000u
#define CLONE_CHILD_SETTID 0x1000000u
#define THREAD_FLAGS (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD)

#define FUTEX_TID_MASK 0x3fffffffu
#define FUTEX_OWNER_DIED 0x40000000u
#define FUTEX_WAITERS 0x80000000u
#define ROBUST_LIMIT 2048
#define BUCKETS 64

/* One address space, so an address is a futex's whole identity. */
static struct list buckets[BUCKETS];

static struct list *bucket(uintptr_t address) {
    struct list *list = &buckets[(address >> 2 ^ address >> 12) % BUCKETS];
    if (!list->next)
        list_init(list);
    return list;
}

static int64_t futex_wake(uintptr_t address, uint64_t count, uint32_t bitset) {
    struct list *list = bucket(address);
    int64_t woken = 0;
    for (struct list *at = list->next, *next; at != list && (uint64_t)woken < count; at = next) {
        next = at->next;
        struct thread *thread = CONTAINER(at, struct thread, futex_link);
        if (thread->futex_address != address || !(thread->futex_bitset & bitset))
            continue;
        list_remove(at);
        thread->futex_woken = true;
        thread_wake(thread);
        woken++;
    }
    return woken;
}

static int64_t futex_wait(uintptr_t address, uint32_t expected, uint32_t bitset, uint64_t deadline) {
    uint32_t value;
    if (bitset == 0)
        return -EINVAL;
    if (copy_from_user(&value, address, sizeof value) != 0)
        return -EFAULT;
    if (value != expected)
        return -EAGAIN;
    current->futex_address = address;
    current->futex_bitset = bitset;
    current->futex_woken = false;
    list_push_back(bucket(address), &current->futex_link);
    int status = 0;
    while (!current->futex_woken && status == 0)
        status = thread_block(deadline, true);
    list_remove(&current->futex_link);
    if (current->futex_woken)
        return 0;
    return status == -ERESTARTSYS && deadline != HAL_FOREVER ? -ERESTARTNOHAND : status;
}

static int64_t futex_requeue(uintptr_t from, uintptr_t to, uint64_t wake, uint64_t move) {
    int64_t done = futex_wake(from, wake, UINT32_MAX);
    struct list *list = bucket(from);
    uint64_t moved = 0;
    for (struct list *at = list->next, *next; at != list && moved < move; at = next) {
        next = at->next;
        struct thread *thread = CONTAINER(at, struct thread, futex_link);
        if (thread->futex_address != from)
            continue;
        thread->futex_address = to;
        if (bucket(to) != list) {
            list_remove(at);
            list_push_back(bucket(to), at);
        }
        moved++;
    }
    return done + (int64_t)moved;
}

/* FUTEX_WAKE_OP (futex(2)): changes the second word, wakes at the first, and at the second if its old value compares. */
static int64_t futex_wake_op(uintptr_t first, uint64_t count, uintptr_t second, uint64_t second_count, uint32_t code) {
    uint32_t operation = code >> 28 & 7, comparison = code >> 24 & 15, old, new;
    int32_t argument = (int32_t)(code << 8) >> 20, against = (int32_t)(code << 20) >> 20;
    if (code >> 31)
        argument = (int32_t)(1u << (argument & 31));
    if (copy_from_user(&old, second, sizeof old) != 0)
        return -EFAULT;
    switch (operation) {
    case 0:
        new = (uint32_t)argument;
        break;
    case 1:
        new = old + (uint32_t)argument;
        break;
    case 2:
        new = old | (uint32_t)argument;
        break;
    case 3:
        new = old & ~(uint32_t)argument;
        break;
    case 4:
        new = old ^ (uint32_t)argument;
        break;
    default:
        return -ENOSYS;
    }
    if (copy_to_user(second, &new, sizeof new) != 0)
        return -EFAULT;
    int32_t before = (int32_t)old;
    bool matches;
    switch (comparison) {
    case 0:
        matches = before == against;
        break;
    case 1:
        matches = before != against;
        break;
    case 2:
        matches = before < against;
        break;
    case 3:
        matches = before <= against;
        break;
    case 4:
        matches = before > against;
        break;
    case 5:
        matches = before >= against;
        break;
    default:
        return -ENOSYS;
    }
    int64_t woken = futex_wake(first, count, UINT32_MAX);
    return matches ? woken + futex_wake(second, second_count, UINT32_MAX) : woken;
}

static int64_t sys_futex(const uint64_t *a) {
    uintptr_t address = a[0];
    unsigned operation = FUTEX_OPERATION(a[1]);
    uint64_t deadline, count = (uint32_t)a[2] > INT32_MAX ? 0 : (uint32_t)a[2];
    uint32_t value;
    int64_t status = futex_check(a, &deadline);
    if (status != 0)
        return status;
    switch (operation) {
    case FUTEX_WAIT:
        return futex_wait(address, (uint32_t)a[2], UINT32_MAX, deadline);
    case FUTEX_WAIT_BITSET:
        return futex_wait(address, (uint32_t)a[2], (uint32_t)a[5], deadline);
    case FUTEX_WAKE:
        return futex_wake(address, count ? count : 1, UINT32_MAX);
    case FUTEX_WAKE_BITSET:
        return (uint32_t)a[5] == 0 ? -EINVAL : futex_wake(address, count ? count : 1, (uint32_t)a[5]);
    case FUTEX_CMP_REQUEUE:
        if (copy_from_user(&value, address, sizeof value) != 0)
            return -EFAULT;
        if (value != (uint32_t)a[5])
            return -EAGAIN;
        /* fall through */
    case FUTEX_REQUEUE:
        if ((int32_t)a[2] < 0 || (int32_t)a[3] < 0 || a[4] & 3)
            return -EINVAL;
        return futex_requeue(address, a[4], count, (uint32_t)a[3]);
    case FUTEX_WAKE_OP:
        return a[4] & 3 ? -EINVAL : futex_wake_op(address, count ? count : 1, a[4], (uint32_t)a[3] ? (uint32_t)a[3] : 1, (uint32_t)a[5]);
    default:
        return -ENOSYS;
    }
}
SYSCALL_INSTEAD(202, futex, sys_futex, threads);

/* A robust mutex whose owner died: said in its word, and one waiter woken. */
static void owner_died(uintptr_t address) {
    uint32_t value;
    if (address & 3 || copy_from_user(&value, address, sizeof value) != 0 || (value & FUTEX_TID_MASK) != (uint32_t)current->tid)
        return;
    uint32_t new = (value & FUTEX_WAITERS) | FUTEX_OWNER_DIED;
    if (copy_to_user(address, &new, sizeof new) == 0 && value & FUTEX_WAITERS)
        futex_wake(address, 1, UINT32_MAX);
}

static void leave_robust_list(void) {
    struct {
        uintptr_t first;
        int64_t offset;
        uintptr_t pending;
    } head;
    if (!current->robust_list || copy_from_user(&head, current->robust_list, sizeof head) != 0)
        return;
    uintptr_t at = head.first & ~(uintptr_t)1;
    for (unsigned i = 0; i < ROBUST_LIMIT && at && at != current->robust_list; i++) {
        uintptr_t next;
        if (copy_from_user(&next, at, sizeof next) != 0)
            break;
        if (at != (head.pending & ~(uintptr_t)1))
            owner_died(at + (uintptr_t)head.offset);
        at = next & ~(uintptr_t)1;
    }
    if (head.pending)
        owner_died((head.pending & ~(uintptr_t)1) + (uintptr_t)head.offset);
}

static int64_t sys_exit(const uint64_t *a) {
    if (process.threads > 1) {
        leave_robust_list();
        uint32_t zero = 0;
        if (current->clear_tid && copy_to_user(current->clear_tid, &zero, sizeof zero) == 0)
            futex_wake(current->clear_tid, 1, UINT32_MAX);
    }
    /* Also where the others have ended while those copies blocked. */
    if (process.threads == 1)
        program_exit((int)a[0]);
    process.threads--;
    signal_thread_gone(current);
    thread_exit();
}
SYSCALL_INSTEAD(60, exit, sys_exit, threads);

struct clone_request {
    uint64_t flags;
    uintptr_t stack, parent_tid, child_tid, tls;
};

static int64_t clone_thread(const struct clone_request *request) {
    if ((request->flags & CLONE_SIGHAND && !(request->flags & CLONE_VM)) || (request->flags & CLONE_THREAD && !(request->flags & CLONE_SIGHAND)))
        return -EINVAL;
    if ((request->flags & THREAD_FLAGS) != THREAD_FLAGS)
        return second_process();
    if (request->flags & ~(uint64_t)(THREAD_FLAGS | CLONE_SYSVSEM | CLONE_SETTLS | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID |
                                     CLONE_DETACHED | CLONE_CHILD_SETTID | 0xff) ||
        request->tls >= HAL_USER_END)
        return -EINVAL;
    /* Before there is a thread: the copies may block, and a signal would wake it before it is counted. */
    uint32_t tid = (uint32_t)thread_new_tid();
    if (request->flags & CLONE_PARENT_SETTID && copy_to_user(request->parent_tid, &tid, sizeof tid) != 0)
        kprintf("nano: clone could not store the thread's number at 0x%lx\n", request->parent_tid);
    if (request->flags & CLONE_CHILD_SETTID && copy_to_user(request->child_tid, &tid, sizeof tid) != 0)
        kprintf("nano: clone could not store the thread's number at 0x%lx\n", request->child_tid);
    struct hal_frame frame = *current->frame;
    frame.rax = 0;
    if (request->stack)
        frame.rsp = request->stack;
    hal_frame_sanitize(&frame);
    struct thread *thread = thread_create_program(&frame, (int)tid);
    if (!thread)
        return -EAGAIN;
    hal_context_sync(&current->context);
    memcpy(thread->context.fpu, current->context.fpu, hal_fpu_size());
    thread->context.fs_base = request->flags & CLONE_SETTLS ? request->tls : current->context.fs_base;
    thread->context.gs_base = current->context.gs_base;
    thread->blocked = current->blocked;
    memcpy(thread->name, current->tid == PROGRAM_PID ? process.name : current->name, sizeof thread->name);
    thread->clear_tid = request->flags & CLONE_CHILD_CLEARTID ? request->child_tid : 0;
    process.threads++;
    thread_wake(thread);
    return (int64_t)tid;
}

static int64_t sys_clone(const uint64_t *a) {
    return clone_thread(&(struct clone_request){a[0], a[1], a[2], a[3], a[4]});
}
SYSCALL_INSTEAD(56, clone, sys_clone, threads);

static int64_t sys_clone3(const uint64_t *a) {
    /* struct clone_args: flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, ... */
    uint64_t args[11] = {0};
    if (a[1] < 64)
        return -EINVAL;
    if (a[1] > 4096)
        return -E2BIG;
    if (copy_from_user(args, a[0], a[1] < sizeof args ? a[1] : sizeof args) != 0)
        return -EFAULT;
    return clone_thread(&(struct clone_request){args[0], args[5] + args[6], args[3], args[2], args[7]});
}
SYSCALL_INSTEAD(435, clone3, sys_clone3, threads);
