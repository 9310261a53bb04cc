/* SPDX-License-Identifier: MIT
 *
 * views_place: see views_place.h. */
#include "views_place.h"

#include <string.h>

#include "support/from_moco.h"

/* Nobody asked for it, so that half of what is free is enough: a run may need memory later. */
static int fits(moco_device *device, int64_t bytes)
{
    int64_t live, available;
    return moco_device_memory(device, &live, &available) == MOCO_OK && bytes <= available / 2;
}

moco_status views_place(struct views_place *place, const char *wish, moco_device *device, const moco_dataset *train,
                        struct err *err)
{
    *place = (struct views_place){.bytes = -1};
    if (strcmp(wish, "host") == 0)
        return MOCO_OK;
    moco_status status = moco_pictures_estimate(device, train, &place->bytes);
    if (strcmp(wish, "device") == 0 && status == MOCO_ENOTSUP)
        return err_set(err, MOCO_EINVAL, "--views device: %.400s; try --views auto", moco_error());
    if (strcmp(wish, "device") == 0)
        TRY(from_moco(status, err));
    place->on_device =
        strcmp(wish, "device") == 0 || (status == MOCO_OK && place->bytes >= 0 && fits(device, place->bytes));
    return MOCO_OK;
}
