/* SPDX-License-Identifier: MIT
 *
 * demo_measure: three measurements on the demo's held-out pictures: kNN on raw pixels, kNN on an encoder's features,
 * and, if there are no labels, how often a view of a picture finds another view of the same picture. */
#ifndef MOCO_EXAMPLES_DEMO_MEASURE_H
#define MOCO_EXAMPLES_DEMO_MEASURE_H

#include "demo_pictures.h"

struct demo_measure {
    moco_context *context;
    moco_device *device;
    const struct demo_pictures *pictures;
    const moco_augment_options *recipe; /* of the training views */
    int k;
    double temperature;
    uint64_t seed;
};

/* All in percent. `model` NULL: raw pixels. */
moco_status demo_measure_knn(const struct demo_measure *measure, moco_model *model, double *percent, struct err *err);
moco_status demo_measure_agreement(const struct demo_measure *measure, moco_model *model, double *percent,
                                   struct err *err);

#endif
