/* SPDX-License-Identifier: MIT
 *
 * monitor: measures an encoder's features by weighted kNN. Training images, not augmented, are the bank; held-out
 * images are the queries. Labels serve nothing else in MoCo. Images that cannot be read are in neither, and are
 * counted. */
#ifndef MOCO_EXAMPLES_MONITOR_H
#define MOCO_EXAMPLES_MONITOR_H

#include <moco/moco.h>

#include "err.h"
#include "support/unreadable.h"

struct monitor {
    moco_device *device; /* all borrowed */
    moco_dataset *bank, *queries;
    moco_augment_options recipe;
    int64_t bank_limit; /* at most so many of the bank's images, drawn at random once; 0: all */
    moco_embedding on;
    moco_precision precision; /* of the encoder */
    int k;
    double temperature;
    int workers;
    int64_t max_bad, max_pixels;        /* max_pixels 0: the loader's default */
    void (*warn)(const char *sentence); /* called when features have collapsed; NULL: not wanted */
    int (*stop)(void);                  /* asked between batches; non-zero ends with MOCO_ECANCELED. NULL: never */
};

struct monitor_result {
    double accuracy;       /* part of the queries that get their right label, 0..1; NAN: no bank or no query was read */
    int64_t bank, queries; /* images that could be read */
    struct unreadable of_bank, of_queries;
};

moco_status monitor_run(const struct monitor *monitor, moco_model *model, struct monitor_result *result,
                        struct err *err);

#endif
