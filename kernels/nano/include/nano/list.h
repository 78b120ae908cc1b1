/*
 * Circular doubly linked lists whose links live inside their members.
 */
#ifndef NANO_LIST_H
#define NANO_LIST_H

#include "hal/base.h"

struct list {
    struct list *next, *prev;
};

#define LIST_INIT(name) {&(name), &(name)}
/* The structure of `type` whose `member` is at `pointer`. */
#define CONTAINER(pointer, type, member) ((type *)((char *)(pointer) - offsetof(type, member)))

static inline void list_init(struct list *list) {
    list->next = list->prev = list;
}
static inline bool list_empty(const struct list *list) {
    return list->next == list;
}
static inline void list_insert_before(struct list *at, struct list *item) {
    item->prev = at->prev;
    item->next = at;
    at->prev->next = item;
    at->prev = item;
}
static inline void list_push_back(struct list *list, struct list *item) {
    list_insert_before(list, item);
}
static inline void list_push_front(struct list *list, struct list *item) {
    list_insert_before(list->next, item);
}
/* After removal the item is an empty list of its own, so removing it twice does no harm. */
static inline void list_remove(struct list *item) {
    item->prev->next = item->next;
    item->next->prev = item->prev;
    list_init(item);
}

#endif
