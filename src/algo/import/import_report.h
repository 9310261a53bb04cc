/* SPDX-License-Identifier: MIT
 *
 * import_report: lines and counts of what happened to a file's tensors. What a reader would get wrong: nothing is
 * kept. Each line goes to the caller's callback when it is made, so that a file of a million tensors takes no memory
 * for them. */
#ifndef MOCO_ALGO_IMPORT_REPORT_H
#define MOCO_ALGO_IMPORT_REPORT_H

#include "err.h"
#include "moco/import.h"

#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
void
import_say(moco_import_report *report, moco_import_kind kind, const char *format, ...);

#endif
