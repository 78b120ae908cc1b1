/*
 * The virtio bus: from a device on a transport to its driver (VIRTIO 1.1, section 3.1).
 */
#include "hal/virtio.h"

#include "hal/driver.h"

extern const struct hal_virtio_driver *const hal_virtio_drivers_begin[], *const hal_virtio_drivers_end[];

void hal_virtio_found(struct hal_virtio *device) {
    const struct hal_virtio_transport *transport = device->transport;
    for (const struct hal_virtio_driver *const *row = hal_virtio_drivers_begin; row < hal_virtio_drivers_end; row++) {
        const struct hal_virtio_driver *driver = *row;
        if (driver->id != device->id)
            continue;
        transport->set_status(device, 0);
        transport->set_status(device, HAL_VIRTIO_ACKNOWLEDGE);
        transport->set_status(device, HAL_VIRTIO_ACKNOWLEDGE | HAL_VIRTIO_DRIVER);
        int status = driver->probe(device);
        if (status == 0)
            return;
        hal_driver_log(driver->name, "The device could not be started (error %d).", -status);
        device->gone = true;
        device->interrupt = NULL;
        device->config_changed = NULL;
        transport->set_status(device, HAL_VIRTIO_FAILED);
        return;
    }
}

int hal_virtio_negotiate(struct hal_virtio *device, uint64_t wanted) {
    const struct hal_virtio_transport *transport = device->transport;
    uint64_t offered = transport->features(device);
    device->negotiated = offered & (wanted | HAL_VIRTIO_F_VERSION_1);
    if (device->legacy) {
        device->negotiated &= UINT32_MAX;
        transport->set_features(device, device->negotiated);
        return 0;
    }
    if (!(offered & HAL_VIRTIO_F_VERSION_1))
        return -HAL_ENODEV;
    transport->set_features(device, device->negotiated);
    uint8_t status = HAL_VIRTIO_ACKNOWLEDGE | HAL_VIRTIO_DRIVER | HAL_VIRTIO_FEATURES_OK;
    transport->set_status(device, status);
    return transport->status(device) & HAL_VIRTIO_FEATURES_OK ? 0 : -HAL_ENODEV;
}

void hal_virtio_ready(struct hal_virtio *device) {
    uint8_t status = HAL_VIRTIO_ACKNOWLEDGE | HAL_VIRTIO_DRIVER | HAL_VIRTIO_DRIVER_OK;
    device->transport->set_status(device, device->legacy ? status : status | HAL_VIRTIO_FEATURES_OK);
}

bool hal_virtio_answers(struct hal_virtio *device) {
    uint8_t status = device->transport->status(device);
    return status & HAL_VIRTIO_DRIVER_OK && !(status & HAL_VIRTIO_NEEDS_RESET);
}
