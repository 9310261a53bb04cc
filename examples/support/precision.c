/* SPDX-License-Identifier: MIT
 *
 * precision: see precision.h. */
#include "precision.h"

#include <stdio.h>
#include <string.h>

static const char *const names[] = {"auto", "f32", "bf16", "f64", "fp16", "tf32"}; /* by moco_precision */
enum { NAMES = sizeof names / sizeof names[0] };

moco_precision precision_parse(const char *name)
{
    for (int p = 0; p < NAMES; p++)
        if (strcmp(names[p], name) == 0)
            return (moco_precision)p;
    return MOCO_PRECISION_AUTO;
}

int precision_known(const char *name)
{
    return precision_parse(name) != MOCO_PRECISION_AUTO || strcmp(name, names[MOCO_PRECISION_AUTO]) == 0;
}

const char *precision_name(int precision)
{
    return precision >= 0 && precision < NAMES ? names[precision] : "";
}

int precision_runs(const moco_device_info *device, const char *name)
{
    return (device->precisions >> precision_parse(name)) & 1;
}

void precision_settle(char *name, size_t size, const moco_device_info *device)
{
    if (precision_parse(name) == MOCO_PRECISION_AUTO)
        snprintf(name, size, "%s", precision_name(device->auto_precision));
}

const char *precision_list(const moco_device_info *device, char *text, size_t size)
{
    size_t used = 0;
    text[0] = 0;
    for (int p = MOCO_PRECISION_F32; p < NAMES && used < size; p++)
        if (precision_runs(device, names[p]))
            used += (size_t)snprintf(text + used, size - used, "%s%s", used > 0 ? ", " : "", names[p]);
    return text;
}
