/* SPDX-License-Identifier: MIT
 *
 * backends: the list of src/backend/backends.c as test programs have it: the devices of the build, and those that only
 * tests have. It is linked in that one's place. A new one needs a line in each of the two tables, and one in
 * test_device_counted if its memory is its own. */
#include <string.h>

#include "backend/backend.h"
#include "support/cudasim/sim_driver.h"
#include "support/devices/failing_device.h"
#include "support/devices/relu_masks.h"
#include "support/late/late_device.h"
#include "support/test_device.h"

const struct backend *backend_listed(int index)
{
    const struct backend *const list[] = {
#ifdef MOCO_HAVE_ONEDNN
        &backend_cpu,
#endif
        &backend_ref, backend_twin(), &backend_late, backend_failing(), backend_of_cudasim(),
    };
    return index >= 0 && (size_t)index < sizeof list / sizeof list[0] ? list[index] : NULL;
}

test_mask_reader test_device_masks(const char *name)
{
    static const struct {
        const char *name;
        test_mask_reader read;
    } readers[] = {
#ifdef MOCO_HAVE_ONEDNN
        {"cpu", relu_masks_read_cpu},
#endif
        {"ref", relu_masks_read_ref},     {"twin", relu_masks_read_ref}, /* its plans are ref's */
        {"failing", relu_masks_read_ref},                                /* so are these */
        {"late", late_masks_read},        {"cudasim", relu_masks_read_cuda},
    };
    size_t length = strcspn(name, ":");
    for (size_t i = 0; i < sizeof readers / sizeof readers[0]; i++)
        if (strlen(readers[i].name) == length && strncmp(readers[i].name, name, length) == 0)
            return readers[i].read;
    return NULL;
}

int64_t test_device_counted(const char *name)
{
    if (strncmp(name, "cudasim", 7) == 0)
        return sim_live();
    return strcmp(name, "late") == 0 ? late_live() : -1;
}

int64_t test_device_repeats(void)
{
    return late_repeated();
}

int64_t test_device_takes(const char *name)
{
    return strncmp(name, "cudasim", 7) == 0 ? sim_calls(SIM_NO_MEMORY) : -1;
}
