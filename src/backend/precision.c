/* SPDX-License-Identifier: MIT
 *
 * precision: the names of precisions, and the sentence that refuses one. A device lists its precisions as bits. */
#include <string.h>

#include "backend/backend.h"

const char *backend_precision_name(int precision)
{
    static const char *const names[] = {"auto", "f32", "bf16", "f64", "fp16", "tf32"};
    return precision >= 0 && (size_t)precision < sizeof names / sizeof names[0] ? names[precision] : NULL;
}

moco_status backend_has_precision(const char *device_name, int precisions, int wanted, struct err *err)
{
    char have[64] = "";
    const char *name;
    if (wanted > 0 && wanted < 31 && (precisions & BE_HAS(wanted)))
        return MOCO_OK;
    for (int p = BE_F32; (name = backend_precision_name(p)) != NULL; p++)
        if (precisions & BE_HAS(p))
            strcat(strcat(have, have[0] != 0 ? ", " : ""), name);
    name = backend_precision_name(wanted);
    if (name == NULL)
        return err_set(err, MOCO_EINVAL, "there is no precision number %d; device %s has %s", wanted, device_name,
                       have);
    return err_set(err, MOCO_ENOTSUP, "device %s does not compute in %s; it has %s", device_name, name, have);
}
