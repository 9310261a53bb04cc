/* SPDX-License-Identifier: MIT
 *
 * report: report.html, one page with everything that a run recorded, in one file that needs nothing else: no
 * network, no fonts, no script (a little script shows numbers under the pointer). Several runs are drawn over each
 * other. */
#ifndef MOCO_EXAMPLES_REPORT_H
#define MOCO_EXAMPLES_REPORT_H

#include "folder/run_log.h"
#include "gallery.h"

#define REPORT_RUNS_MAX 16

/* Replaces the file at `path`. gallery[i] NULL: there is none of run i. */
moco_status report_write(const char *path, struct run_log *const *run, struct gallery *const *gallery, int runs,
                         struct err *err);

#endif
