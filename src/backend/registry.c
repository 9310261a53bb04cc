/* SPDX-License-Identifier: MIT
 *
 * registry: finds the backend of a device by the device's name. What a reader would get wrong: the number in
 * NAME:NUMBER is not checked here; the backend's `open` knows which numbers exist. */
#include <string.h>

#include "backend/backend.h"
#include "backend/module.h"
#include "module_file.h"

enum { NUMBER_DIGITS = 4 };

/* Cuts NAME off NAME or NAME:NUMBER; 0 if `device_name` is neither. */
static int cut_name(char name[MODULE_NAME], const char *device_name)
{
    int length = module_name_length(device_name);
    if (length == 0)
        return 0;
    memcpy(name, device_name, (size_t)length);
    name[length] = 0;
    const char *rest = device_name + length;
    size_t digits = rest[0] == ':' ? strspn(rest + 1, "0123456789") : 0;
    return rest[0] == 0 || (digits > 0 && digits <= NUMBER_DIGITS && rest[1 + digits] == 0);
}

static void list_built_in(char *names, size_t size)
{
    size_t used = 0;
    const struct backend *be;
    names[0] = 0;
    for (int i = 0; (be = backend_listed(i)) != NULL; i++) {
        size_t length = strlen(be->name), comma = i > 0 ? 2 : 0;
        if (used + comma + length >= size)
            return;
        memcpy(names + used, ", ", comma);
        memcpy(names + used + comma, be->name, length + 1);
        used += comma + length;
    }
}

moco_status backend_find(const struct backend **out, const char *device_name, struct err *err)
{
    char name[MODULE_NAME], built_in[128];
    const struct backend *be;
    *out = NULL;
    list_built_in(built_in, sizeof built_in);
    if (!cut_name(name, device_name))
        return err_set(
            err, MOCO_ENODEV,
            "there is no device \"%.40s\": a name is small letters and digits, with a number behind it where "
            "there are several, as in \"cuda:0\"; this build has %s",
            device_name, built_in);
    for (int i = 0; (be = backend_listed(i)) != NULL; i++)
        if (strcmp(be->name, name) == 0) {
            *out = be;
            return MOCO_OK;
        }
    return module_find(out, name, device_name, built_in, err);
}
