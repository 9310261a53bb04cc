/* SPDX-License-Identifier: MIT
 *
 * run_report: what a run prints before it starts: the whole configuration in effect, warnings, and (for --dry-run)
 * the memory by kind and the expected time. */
#ifndef MOCO_EXAMPLES_RUN_REPORT_H
#define MOCO_EXAMPLES_RUN_REPORT_H

#include "images/open_data.h"
#include "run_config.h"

void run_report_config(const struct run_config *config, const moco_device_info *device, const struct open_data *data);

/* Reports memory without allocating it. */
moco_status run_report_estimate(const struct run_config *config, moco_device *device, const struct open_data *data,
                                struct err *err);

/* The members of the first object of metrics.jsonl. */
void run_report_json(const struct run_config *config, const moco_device_info *device, const struct open_data *data,
                     char *text, size_t size);

#endif
