/* SPDX-License-Identifier: MIT
 *
 * encoder_check: what holds of every encoder, however it came by its numbers, for the targets model and import: they are
 * finite, and no variance and no count is below 0. */
#ifndef MOCO_FUZZ_ENCODER_CHECK_H
#define MOCO_FUZZ_ENCODER_CHECK_H

#include <math.h>
#include <stdlib.h>

#include "algo/encoder.h"

static void check_encoder(struct encoder *e)
{
    for (int i = 0; i < e->graph->state_count; i++) {
        struct tensor_shape shape;
        struct err err = {0};
        encoder_tensor_shape(e, i, &shape);
        double *values = malloc((size_t)shape.count * sizeof *values);
        if (values == NULL || encoder_tensor_get(e, &e->numbers, i, values, sizeof *values, &err) != MOCO_OK)
            abort();
        for (int64_t j = 0; j < shape.count; j++)
            if (!isfinite(values[j]) || ((shape.variance || shape.integer) && values[j] < 0))
                abort();
        free(values);
    }
}

#endif
