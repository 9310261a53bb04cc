/* SPDX-License-Identifier: MIT
 *
 * import_report: see import_report.h. Names come from a file, so each line is made printable first, as the sentence
 * of a failure is. */
#include "algo/import/import_report.h"

#include <stdarg.h>
#include <stdio.h>

#include "utf8.h"

void import_say(moco_import_report *report, moco_import_kind kind, const char *format, ...)
{
    char raw[1024], sentence[512];
    report->count[kind]++;
    if (report->line == NULL)
        return;
    va_list args;
    va_start(args, format);
    raw[vsnprintf(raw, sizeof raw, format, args) < 0 ? 0 : sizeof raw - 1] = 0;
    va_end(args);
    utf8_printable(sentence, sizeof sentence, raw);
    report->line(report->user, kind, sentence);
}
