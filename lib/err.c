/* SPDX-License-Identifier: MIT
 *
 * err: see err.h. It uses vsnprintf, whose %f follows the locale; a sentence with a decimal number formats it with
 * lib/num first. File names are put into sentences as they are, and made printable here, in one place. */
#include "err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "utf8.h"

moco_status err_set(struct err *err, moco_status status, const char *format, ...)
{
    if (err == NULL || err->status != MOCO_OK)
        return status;
    char raw[2 * sizeof err->text]; /* longer than what is kept, so that its own end is never seen */
    va_list args;
    va_start(args, format);
    if (vsnprintf(raw, sizeof raw, format, args) < 0)
        raw[0] = 0;
    va_end(args);
    utf8_printable(err->text, sizeof err->text, raw);
    err->status = status;
    return status;
}

void err_prefix(struct err *err, const char *prefix)
{
    if (err == NULL || err->status == MOCO_OK)
        return;
    struct err both = {0};
    err_set(&both, err->status, "%s: %s", prefix, err->text);
    *err = both;
}
