/* SPDX-License-Identifier: MIT
 *
 * err: see err.h. Uses vsnprintf, whose %f follows the locale; sentences that hold numbers with a point format them
 * with lib/num first. */
#include "err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

moco_status err_set(struct err *err, moco_status status, const char *format, ...)
{
    if (err == NULL || err->status != MOCO_OK)
        return status;
    va_list args;
    va_start(args, format);
    vsnprintf(err->text, sizeof err->text, format, args);
    va_end(args);
    err->status = status;
    return status;
}

void err_prefix(struct err *err, const char *prefix)
{
    if (err == NULL || err->status == MOCO_OK)
        return;
    char old[sizeof err->text];
    memcpy(old, err->text, sizeof old);
    int used = snprintf(err->text, sizeof err->text, "%s: ", prefix);
    if (used < 0 || (size_t)used >= sizeof err->text)
        return;
    size_t room = sizeof err->text - (size_t)used - 1, length = strlen(old);
    if (length > room)
        length = room;
    memcpy(err->text + used, old, length);
    err->text[(size_t)used + length] = 0;
}
