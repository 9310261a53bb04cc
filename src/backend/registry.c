/* SPDX-License-Identifier: MIT
 *
 * registry: the backends of this build, found by the name of a device. */
#include <string.h>

#include "backend/backend.h"

static const struct backend *const built_in[] = {
#ifdef MOCO_HAVE_ONEDNN
    &backend_cpu,
#endif
    &backend_ref,
};

moco_status backend_find(const struct backend **out, const char *device_name, struct err *err)
{
    char names[128] = "";
    *out = NULL;
    for (size_t i = 0; i < sizeof built_in / sizeof built_in[0]; i++) {
        if (strcmp(built_in[i]->name, device_name) == 0) {
            *out = built_in[i];
            return MOCO_OK;
        }
        strcat(strcat(names, i > 0 ? ", " : ""), built_in[i]->name);
    }
    return err_set(err, MOCO_ENODEV, "there is no device \"%.40s\" in this build; there is: %s", device_name, names);
}
