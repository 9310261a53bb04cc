/* SPDX-License-Identifier: MIT
 *
 * compare_tables: results of cells as Markdown: rows and columns of a table, mean and standard deviation over seeds,
 * and differences to the first row with theirs. What a reader would get wrong: a difference is taken seed by seed,
 * because the seed decides the order of the data and the initial weights, which both runs share. */
#ifndef MOCO_EXAMPLES_COMPARE_TABLES_H
#define MOCO_EXAMPLES_COMPARE_TABLES_H

#include <stdio.h>

#include "compare_cells.h"

/* Tables with no finished cell are left out. */
void compare_tables_write(FILE *to, const struct cells *cells);

#endif
