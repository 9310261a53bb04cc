/* SPDX-License-Identifier: MIT
 *
 * monitor: how good an encoder's features are, by weighted kNN: training images, un-augmented, are the bank and
 * held-out images ask. Labels serve nothing else in MoCo. */
#ifndef MOCO_EXAMPLES_MONITOR_H
#define MOCO_EXAMPLES_MONITOR_H

#include <moco/moco.h>

#include "err.h"

struct monitor {
    moco_device *device; /* all borrowed */
    moco_dataset *bank, *queries;
    moco_augment_options recipe;
    int64_t bank_limit; /* at most so many of the bank's images, drawn at random once; 0: all */
    moco_embedding on;
    int k;
    double temperature;
    int workers;
    int64_t max_bad, max_pixels; /* max_pixels 0: the loader's default */
    void (*warn)(const char *sentence); /* told when features have collapsed; NULL: nobody */
    int (*stop)(void);                  /* asked between batches; non-zero ends with MOCO_ECANCELED. NULL: never */
};

/* Part of the queries that get their right label, 0..1. */
moco_status monitor_run(const struct monitor *monitor, moco_model *model, double *accuracy, struct err *err);

#endif
