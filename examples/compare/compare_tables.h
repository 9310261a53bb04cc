/* SPDX-License-Identifier: MIT
 *
 * compare_tables: results of cells as Markdown: rows and columns of a table, over seeds mean and standard deviation,
 * differences to the first row with theirs. What a reader would get wrong: a difference is taken seed by seed, for the
 * seed decides the data's order and the start, which both runs share. */
#ifndef MOCO_EXAMPLES_COMPARE_TABLES_H
#define MOCO_EXAMPLES_COMPARE_TABLES_H

#include <stdio.h>

#include "compare_cells.h"

/* Tables with no finished cell are left out. */
void compare_tables_write(FILE *to, const struct cells *cells);

#endif
