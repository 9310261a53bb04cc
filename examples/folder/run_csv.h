/* SPDX-License-Identifier: MIT
 *
 * run_csv: metrics.csv in a run folder: the step and epoch lines of metrics.jsonl as a table, for spreadsheets. A cell
 * is empty where the line has no such number. */
#ifndef MOCO_EXAMPLES_RUN_CSV_H
#define MOCO_EXAMPLES_RUN_CSV_H

#include "run_log.h"

/* Reads `log`, which was just opened, to its end. `path` gets the path of the file. */
moco_status run_csv_write(struct run_log *log, char *path, size_t size, struct err *err);

#endif
