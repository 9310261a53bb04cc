/* SPDX-License-Identifier: MIT
 *
 * program_facts: the table; see program_facts.h. An op without a row takes and gives any form, is not fused, and
 * needs nothing but the gradient of its output for its own. */
#include "backend/program/program_facts.h"

const struct program_fact program_facts[OP_KINDS] = {
    [OP_CONV] = {.takes = FORM_MAP, .gives = FORM_MAP, .folds = 1, .weights = 1},
    [OP_BN] = {.takes_add = 1, .takes_relu = 1, .input_kept = 1, .joins = 1},
    [OP_ADD] = {.takes_relu = 1},
    [OP_MAXPOOL] = {.takes = FORM_MAP, .gives = FORM_MAP},
    [OP_GAP] = {.takes = FORM_MAP, .gives = FORM_VECTOR},
    [OP_LINEAR] = {.takes = FORM_VECTOR, .gives = FORM_VECTOR, .takes_relu = 1, .input_kept = 1, .weights = 1},
    [OP_L2NORM] = {.takes = FORM_VECTOR, .gives = FORM_VECTOR, .input_kept = 1},
};
