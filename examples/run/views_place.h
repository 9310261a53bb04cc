/* SPDX-License-Identifier: MIT
 *
 * views_place: where the views of a run are made: on its device, of pictures that it keeps, or on the host. */
#ifndef MOCO_EXAMPLES_VIEWS_PLACE_H
#define MOCO_EXAMPLES_VIEWS_PLACE_H

#include <moco/moco.h>

#include "err.h"

struct views_place {
    int on_device;
    int64_t bytes; /* on_device: that the pictures take there; -1: not known before they are read */
};

/* `wish`: auto, device or host. MOCO_ENOTSUP: device is wished for, and makes no views. */
moco_status views_place(struct views_place *place, const char *wish, moco_device *device, const moco_dataset *train,
                        struct err *err);

#endif
