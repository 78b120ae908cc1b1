/*
 * The virtio console device, its first port without the control queues: VIRTIO 1.1, section 5.3.
 */
#include "hal/clock.h"
#include "hal/driver.h"
#include "hal/string.h"
#include "hal/virtio.h"

#define RECEIVE 0
#define TRANSMIT 1
#define BUFFER 256
#define BUFFERS 4
#define WAIT_NS 100000000ull

static struct {
    struct hal_console console;
    struct hal_virtio *device;
    struct hal_virtqueue *receive, *transmit;
    char *output; /* the device's while `sending` */
    bool sending, stuck;
} port;

static void give(char *buffer) {
    const struct hal_virtqueue_piece piece = {buffer, BUFFER, true};
    hal_virtqueue_add(port.receive, &piece, 1, buffer);
}

static void interrupt(void *context) {
    (void)context;
    uint32_t size;
    char *buffer;
    while ((buffer = hal_virtqueue_get(port.receive, &size))) {
        if (port.console.input && size > 0)
            port.console.input(buffer, size);
        give(buffer);
    }
    hal_virtqueue_kick(port.receive);
}

/* Whether the device has taken what it was given; waits a bounded time, once for each that it does not take. */
static bool wait_sent(void) {
    uint64_t deadline = hal_clock_monotonic() + WAIT_NS;
    while (port.sending) {
        if (hal_virtqueue_get(port.transmit, NULL)) {
            port.sending = port.stuck = false;
        } else if (port.device->gone || port.stuck || hal_clock_monotonic() > deadline) {
            port.stuck = true;
            return false;
        } else {
            __builtin_ia32_pause();
        }
    }
    return true;
}

/* A piece that the device was given and does not give back in time counts as taken: a console must not stop the machine. */
static size_t write(struct hal_console *console, const char *text, size_t length) {
    (void)console;
    size_t done = 0;
    while (done < length && wait_sent()) {
        size_t now = length - done < BUFFER ? length - done : BUFFER;
        memcpy(port.output, text + done, now);
        const struct hal_virtqueue_piece piece = {port.output, (uint32_t)now, false};
        if (hal_virtqueue_add(port.transmit, &piece, 1, &port) != 0)
            break;
        port.sending = true;
        hal_virtqueue_kick(port.transmit);
        done += now;
    }
    wait_sent();
    return done;
}

static const struct hal_console_ops ops = {write};

static int probe(struct hal_virtio *device) {
    if (port.device)
        return -HAL_EBUSY;
    int status = hal_virtio_negotiate(device, 0);
    if (status != 0)
        return status;
    char *buffers = hal_driver_alloc(BUFFERS * BUFFER);
    port.output = hal_driver_alloc(BUFFER);
    port.receive = buffers && port.output ? hal_virtqueue_create(device, RECEIVE, 16) : NULL;
    port.transmit = port.receive ? hal_virtqueue_create(device, TRANSMIT, 16) : NULL;
    if (!port.transmit)
        return -HAL_ENOMEM;
    hal_virtqueue_interrupts(port.transmit, false);
    port.device = device;
    port.console.name = "virtio-console";
    port.console.ops = &ops;
    device->interrupt = interrupt;
    hal_virtio_ready(device);
    for (unsigned i = 0; i < BUFFERS; i++)
        give(buffers + i * BUFFER);
    hal_virtqueue_kick(port.receive);
    hal_console_register(&port.console);
    return 0;
}

static const struct hal_virtio_driver driver = {"virtio-console", HAL_VIRTIO_CONSOLE, probe};
HAL_VIRTIO_DRIVER_TABLE(driver);
