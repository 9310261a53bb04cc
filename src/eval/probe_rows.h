/* SPDX-License-Identifier: MIT
 *
 * probe_rows: what training and evaluation of a probe share: the check of rows, their logits, softmax. */
#ifndef MOCO_EVAL_PROBE_ROWS_H
#define MOCO_EVAL_PROBE_ROWS_H

#include "eval/probe.h"

/* Is every label a class (labels NULL: not asked), and every row finite? The sentence names the row. */
moco_status probe_check_rows(const struct probe *probe, const float *features, const int32_t *labels, int64_t n,
                             struct err *err);

/* probe->logits = [n][rates][classes] of rates first_rate.. first_rate + rates - 1, bias included. */
moco_status probe_logits(struct probe *probe, int first_rate, int rates, const float *features, int64_t n,
                         struct err *err);

/* The class that is predicted: the first of the largest. */
int probe_largest(const float *logits, int classes);

/* Logits become probabilities; the cross-entropy with `label`. */
double probe_softmax(float *logits, int classes, int32_t label);

#endif
