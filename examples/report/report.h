/* SPDX-License-Identifier: MIT
 *
 * report: report.html, one page with everything that a run recorded, in one file that needs nothing else: no
 * network, no fonts, no script (a little script shows numbers and pictures under the pointer). Several runs are drawn over each
 * other. */
#ifndef MOCO_EXAMPLES_REPORT_H
#define MOCO_EXAMPLES_REPORT_H

#include "folder/run_log.h"
#include "gallery.h"

#define REPORT_RUNS_MAX 16
#define REPORT_EVERY                                                                                                   \
    30 /* seconds after which a page of a run that goes on is drawn again, and read again by a browser */

enum report_stage {
    REPORT_ENDED,   /* nobody draws it again */
    REPORT_GOES_ON, /* its driver does: it says how old it is, and reads itself again */
};

/* Replaces the file at `path`. gallery[i] NULL: there is none of run i. */
moco_status report_write(const char *path, struct run_log *const *run, struct gallery *const *gallery, int runs,
                         enum report_stage stage, struct err *err);

#endif
