#include "nano/user.h"

#include "hal/string.h"
#include "nano/errno.h"
#include "nano/heap.h"

int copy_from_user(void *to, uintptr_t from, size_t size) {
    return hal_user_read(to, from, size) ? -EFAULT : 0;
}

int copy_to_user(uintptr_t to, const void *from, size_t size) {
    return hal_user_write(to, from, size) ? -EFAULT : 0;
}

int clear_user(uintptr_t to, size_t size) {
    return hal_user_zero(to, size) ? -EFAULT : 0;
}

int64_t copy_string_from_user(char *to, uintptr_t from, size_t size) {
    /* Never reads beyond the page that holds the NUL: the next one may not be mapped. */
    for (size_t done = 0; done < size;) {
        size_t now = HAL_PAGE_SIZE - ((from + done) & HAL_PAGE_MASK);
        if (now > 64)
            now = 64 - ((from + done) & 63);
        if (now > size - done)
            now = size - done;
        if (copy_from_user(to + done, from + done, now))
            return -EFAULT;
        const char *end = memchr(to + done, 0, now);
        if (end)
            return end - to;
        done += now;
    }
    return -ENAMETOOLONG;
}

void iter_init_user(struct iter *iter, struct segment *storage, uintptr_t base, size_t length) {
    *storage = (struct segment){base, length < TRANSFER_MAX ? length : TRANSFER_MAX};
    *iter = (struct iter){storage, 1, 0, storage->length, false};
}

void iter_init_kernel(struct iter *iter, struct segment *storage, void *base, size_t length) {
    *storage = (struct segment){(uintptr_t)base, length};
    *iter = (struct iter){storage, 1, 0, length, true};
}

int iter_init_iovec(struct iter *iter, struct segment *storage, size_t room, uintptr_t iovec, size_t count, void **allocated) {
    *allocated = NULL;
    if (count > IOV_MAX)
        return -EINVAL;
    if (count > room) {
        storage = kcalloc(count, sizeof *storage);
        if (!storage)
            return -ENOMEM;
        *allocated = storage;
    }
    int status = count ? copy_from_user(storage, iovec, count * sizeof *storage) : 0;
    size_t sum = 0;
    for (size_t i = 0; i < count && status == 0; i++) {
        if (storage[i].length > (size_t)INT64_MAX - sum) {
            status = -EINVAL;
            break;
        }
        if (storage[i].length > TRANSFER_MAX - (sum < TRANSFER_MAX ? sum : TRANSFER_MAX))
            storage[i].length = TRANSFER_MAX - sum;
        sum += storage[i].length;
    }
    if (status != 0) {
        kfree(*allocated);
        *allocated = NULL;
        return status;
    }
    *iter = (struct iter){storage, count, 0, sum, false};
    return 0;
}

enum direction { PUT, GET, ZERO };

static size_t move(struct iter *iter, void *memory, size_t size, enum direction direction) {
    size_t done = 0;
    if (size > iter->left)
        size = iter->left;
    while (done < size) {
        while (iter->offset == iter->segments->length) {
            iter->segments++;
            iter->count--;
            iter->offset = 0;
        }
        size_t now = iter->segments->length - iter->offset;
        if (now > size - done)
            now = size - done;
        uintptr_t address = iter->segments->base + iter->offset;
        size_t failed = 0;
        if (iter->kernel && direction == PUT)
            memcpy((void *)address, (char *)memory + done, now);
        else if (iter->kernel && direction == GET)
            memcpy((char *)memory + done, (void *)address, now);
        else if (iter->kernel)
            memset((void *)address, 0, now);
        else if (direction == PUT)
            failed = hal_user_write(address, (char *)memory + done, now);
        else if (direction == GET)
            failed = hal_user_read((char *)memory + done, address, now);
        else
            failed = hal_user_zero(address, now);
        iter->offset += now - failed;
        iter->left -= now - failed;
        done += now - failed;
        if (failed)
            break;
    }
    return done;
}

size_t iter_put(struct iter *iter, const void *from, size_t size) {
    return move(iter, (void *)from, size, PUT);
}

size_t iter_get(struct iter *iter, void *to, size_t size) {
    return move(iter, to, size, GET);
}

size_t iter_zero(struct iter *iter, size_t size) {
    return move(iter, NULL, size, ZERO);
}

void iter_advance(struct iter *iter, size_t size) {
    if (size > iter->left)
        size = iter->left;
    iter->left -= size;
    while (size > 0) {
        size_t now = iter->segments->length - iter->offset;
        if (now > size)
            now = size;
        iter->offset += now;
        size -= now;
        if (iter->offset == iter->segments->length && iter->left + size > 0) {
            iter->segments++;
            iter->count--;
            iter->offset = 0;
        }
    }
}
