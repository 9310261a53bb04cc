/* SPDX-License-Identifier: MIT
 *
 * compare_cells: what compare trains: a list of cells, each one run of train_imagenet with its options. What a
 * reader would get wrong: a cell belongs to one table only, so that a table can be read, resumed and deleted by
 * itself. Its key is also the name of its folder. */
#ifndef MOCO_EXAMPLES_COMPARE_CELLS_H
#define MOCO_EXAMPLES_COMPARE_CELLS_H

#include "support/cli_options.h"

#define CELLS_MAX 512
#define CELL_WORDS 64
#define CELL_TEXT 2048

enum compare_table { TABLE_ACCURACY, TABLE_COST, TABLE_TEMPERATURE, TABLE_AUGMENTATION, TABLE_NEGATIVES, TABLES };
extern const char *const compare_table_names[TABLES];

struct compare_settings {
    char data[CLI_PATH_SIZE], out[CLI_PATH_SIZE], tables[CLI_PATH_SIZE];
    char preset[CLI_NAME_SIZE], precision[CLI_NAME_SIZE], device[CLI_NAME_SIZE], wait[CLI_NAME_SIZE];
    char arch[CLI_NAME_SIZE], stem[CLI_NAME_SIZE], recipe[CLI_NAME_SIZE];
    int64_t patterns, seeds, epochs, batch, group, size, queue, threads, workers, cost_steps, cost_group, dry_run, help;
    double width, lr;
    struct cli_list cost_batches, batches;
    int wanted[TABLES];
};

/* A command line in one block: words end in 0. */
struct cell {
    enum compare_table table;
    char key[96];    /* "accuracy-moco-v2-seed0" */
    char row[48];    /* "moco-v2" */
    char column[24]; /* temperature or batch size; "" in a table of one column */
    int64_t seed, batch;
    int words;
    char *word[CELL_WORDS + 1]; /* ends in NULL; word[0] is left for the program */
    char text[CELL_TEXT];
    size_t used;
    /* what came out; negative: not known */
    double knn, linear, img_per_s, peak_mb, counted_mb, seconds;
};

struct cells {
    int count;
    struct cell *cell; /* [CELLS_MAX] */
};

/* Free with cells_free. MOCO_EINVAL: a table that there is not, or more cells than CELLS_MAX. */
moco_status cells_make(struct cells *cells, const struct compare_settings *settings, struct err *err);
void cells_free(struct cells *cells);

#endif
