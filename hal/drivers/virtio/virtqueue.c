/*
 * Split virtqueues: VIRTIO 1.1, section 2.6. What the device writes (the used ring) is believed only after a check; what
 * the driver needs of a chain is kept apart from the descriptors, which the device could change.
 */
#include "hal/driver.h"
#include "hal/memory.h"
#include "hal/string.h"
#include "hal/virtio.h"

#define F_NEXT 1
#define F_WRITE 2
#define AVAIL_NO_INTERRUPT 1
#define USED_NO_NOTIFY 1
#define NONE 0xffff
#define LEGACY_ALIGN 4096
#define MODERN_ALIGN 64

struct descriptor {
    uint64_t address;
    uint32_t length;
    uint16_t flags, next;
};
struct used_element {
    uint32_t id, length;
};

/* What we remember of a descriptor: the chain's next one, and for a chain's head who it belongs to. */
struct note {
    void *cookie;      /* NULL: not the head of a chain that the device has */
    uint32_t writable; /* bytes of the chain that the device may write */
    uint16_t next;     /* in the chain, or in the list of free descriptors */
    uint16_t count;
};

struct hal_virtqueue {
    struct hal_virtio *device;
    struct hal_virtqueue_layout layout;
    struct descriptor *descriptors;
    volatile uint16_t *available; /* flags, index, ring[size], used_event */
    volatile uint16_t *used;      /* flags, index, then elements of 8 bytes, avail_event */
    struct note *notes;
    uint16_t size, mask;
    uint16_t free_head, free_count;
    uint16_t next_available; /* our copy of the index that we publish */
    uint16_t kicked;         /* next_available when the device was last told */
    uint16_t last_used;
    uint16_t detach_at;
    bool event_index, interrupts_wanted;
};

static volatile uint16_t *used_event(struct hal_virtqueue *queue) {
    return &queue->available[2 + queue->size];
}
static volatile struct used_element *used_ring(struct hal_virtqueue *queue) {
    return (volatile struct used_element *)(queue->used + 2);
}
static uint16_t available_event(struct hal_virtqueue *queue) {
    return *(volatile uint16_t *)&used_ring(queue)[queue->size];
}

struct hal_virtqueue *hal_virtqueue_create(struct hal_virtio *device, unsigned index, unsigned max_size) {
    unsigned size = device->transport->queue_size(device, index);
    if (size == 0)
        return NULL;
    /* A legacy device's size is fixed; a power of two by the specification, which a device may break. */
    if (device->legacy && !device->legacy_resizable) {
        if (size & (size - 1) || size > 32768)
            return NULL;
    } else {
        if (size > max_size)
            size = max_size;
        while (size & (size - 1))
            size &= size - 1;
    }
    size_t align = device->legacy ? LEGACY_ALIGN : MODERN_ALIGN;
    size_t available_at = size * sizeof(struct descriptor);
    size_t used_at = (available_at + 2 * (3 + (size_t)size) + align - 1) & ~(align - 1);
    size_t bytes = used_at + 4 + size * sizeof(struct used_element) + 2;
    struct hal_virtqueue *queue = hal_driver_alloc(sizeof *queue);
    /* From a page upwards the memory is page-aligned, as the legacy interface wants it. */
    uint8_t *ring = hal_driver_alloc(bytes < HAL_PAGE_SIZE ? HAL_PAGE_SIZE : bytes);
    struct note *notes = hal_driver_alloc(size * sizeof *notes);
    if (!queue || !ring || !notes)
        return NULL;
    queue->device = device;
    queue->size = (uint16_t)size;
    queue->mask = (uint16_t)(size - 1);
    queue->descriptors = (struct descriptor *)ring;
    queue->available = (volatile uint16_t *)(ring + available_at);
    queue->used = (volatile uint16_t *)(ring + used_at);
    queue->notes = notes;
    queue->event_index = device->negotiated & HAL_VIRTIO_F_EVENT_IDX;
    queue->interrupts_wanted = true;
    for (unsigned i = 0; i < size; i++)
        notes[i].next = (uint16_t)(i + 1 < size ? i + 1 : NONE);
    queue->free_count = (uint16_t)size;
    hal_phys_t base = hal_virt_to_phys(ring);
    queue->layout = (struct hal_virtqueue_layout){.index = index,
                                                  .size = (uint16_t)size,
                                                  .descriptors = base,
                                                  .available = base + available_at,
                                                  .used = base + used_at};
    return device->transport->queue_start(device, queue) == 0 ? queue : NULL;
}

static void fail(struct hal_virtqueue *queue, const char *what, unsigned value) {
    struct hal_virtio *device = queue->device;
    device->gone = true;
    device->transport->set_status(device, HAL_VIRTIO_FAILED);
    hal_driver_log("virtio", "The device (kind %u) %s (%u) in the used ring of queue %u; it is not used any more.", device->id, what, value,
                   queue->layout.index);
}

int hal_virtqueue_add(struct hal_virtqueue *queue, const struct hal_virtqueue_piece *pieces, unsigned count, void *cookie) {
    if (queue->device->gone)
        return -HAL_ENODEV;
    if (count == 0 || count > queue->free_count)
        return count == 0 ? -HAL_EINVAL : -HAL_ENOSPC;
    uint16_t head = queue->free_head, at = head;
    uint32_t writable = 0;
    for (unsigned i = 0; i < count; i++) {
        struct note *note = &queue->notes[at];
        bool last = i + 1 == count;
        queue->descriptors[at] = (struct descriptor){hal_virt_to_phys(pieces[i].data), pieces[i].length,
                                                     (uint16_t)((last ? 0 : F_NEXT) | (pieces[i].device_writes ? F_WRITE : 0)),
                                                     last ? 0 : note->next};
        if (pieces[i].device_writes)
            writable += pieces[i].length;
        if (last) {
            queue->free_head = note->next;
            note->next = NONE;
        } else {
            at = note->next;
        }
    }
    queue->free_count = (uint16_t)(queue->free_count - count);
    queue->notes[head].cookie = cookie;
    queue->notes[head].writable = writable;
    queue->notes[head].count = (uint16_t)count;
    queue->available[2 + (queue->next_available & queue->mask)] = head;
    /* The ring's entry and the descriptors must be visible before the index that covers them. */
    __atomic_thread_fence(__ATOMIC_RELEASE);
    queue->available[1] = ++queue->next_available;
    return 0;
}

void hal_virtqueue_kick(struct hal_virtqueue *queue) {
    uint16_t old = queue->kicked, now = queue->next_available;
    if (old == now || queue->device->gone)
        return;
    queue->kicked = now;
    /* The index must be visible before we look whether the device waits for it: both sides do the same, so one sees. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    bool wanted = queue->event_index ? (uint16_t)(now - available_event(queue) - 1) < (uint16_t)(now - old)
                                     : !(queue->used[0] & USED_NO_NOTIFY);
    if (wanted)
        queue->device->transport->notify(queue->device, queue);
}

static void give_back(struct hal_virtqueue *queue, uint16_t head) {
    struct note *note = &queue->notes[head];
    uint16_t last = head;
    for (unsigned i = 1; i < note->count; i++)
        last = queue->notes[last].next;
    queue->notes[last].next = queue->free_head;
    queue->free_head = head;
    queue->free_count = (uint16_t)(queue->free_count + note->count);
    note->cookie = NULL;
}

void *hal_virtqueue_get(struct hal_virtqueue *queue, uint32_t *written) {
    if (queue->device->gone)
        return NULL;
    uint16_t index = queue->used[1];
    if (index == queue->last_used)
        return NULL;
    if ((uint16_t)(index - queue->last_used) > queue->size) {
        fail(queue, "went beyond what it was given", index);
        return NULL;
    }
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    /* Each field is read once: the device may change it between a check and a use. */
    volatile struct used_element *element = &used_ring(queue)[queue->last_used & queue->mask];
    uint32_t id = element->id, length = element->length;
    if (id >= queue->size || !queue->notes[id].cookie) {
        fail(queue, "named a descriptor that it does not have", id);
        return NULL;
    }
    struct note *note = &queue->notes[id];
    if (length > note->writable) {
        /* Legacy devices report the bytes of chains that they only read, too; those lengths mean nothing. */
        if (note->writable) {
            fail(queue, "reported more bytes than it had room for", length);
            return NULL;
        }
        length = 0;
    }
    queue->last_used++;
    void *cookie = note->cookie;
    give_back(queue, (uint16_t)id);
    if (queue->event_index && queue->interrupts_wanted)
        *used_event(queue) = queue->last_used;
    if (written)
        *written = length;
    return cookie;
}

void *hal_virtqueue_detach(struct hal_virtqueue *queue) {
    while (queue->detach_at < queue->size) {
        uint16_t at = queue->detach_at++;
        void *cookie = queue->notes[at].cookie;
        if (cookie) {
            give_back(queue, at);
            return cookie;
        }
    }
    return NULL;
}

bool hal_virtqueue_interrupts(struct hal_virtqueue *queue, bool enable) {
    queue->interrupts_wanted = enable;
    if (!enable) {
        if (queue->event_index)
            *used_event(queue) = (uint16_t)(queue->last_used - 1);
        else
            queue->available[0] = AVAIL_NO_INTERRUPT;
        return false;
    }
    if (queue->event_index)
        *used_event(queue) = queue->last_used;
    else
        queue->available[0] = 0;
    /* The wish must be visible before we look whether something came in the meantime. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return !queue->device->gone && queue->used[1] != queue->last_used;
}

unsigned hal_virtqueue_size(const struct hal_virtqueue *queue) {
    return queue->size;
}

unsigned hal_virtqueue_free(const struct hal_virtqueue *queue) {
    return queue->free_count;
}

struct hal_virtqueue_layout *hal_virtqueue_layout(struct hal_virtqueue *queue) {
    return &queue->layout;
}
