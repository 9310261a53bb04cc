/* SPDX-License-Identifier: MIT
 *
 * health: whether an encoder still gives finite numbers. A rate that is too high may leave weights so large that the
 * next forward pass overflows, at any later rate. Such a state must not replace one from which training can
 * continue. What a reader would get wrong: training itself notices this one step later, when the state has been
 * saved. */
#ifndef MOCO_EXAMPLES_HEALTH_H
#define MOCO_EXAMPLES_HEALTH_H

#include <moco/moco.h>

#include "err.h"

/* Embeds a few images of noise, `size` pixels high and wide. MOCO_ENUMERIC: they have no finite embedding. */
moco_status health_check(moco_model *model, int64_t size, struct err *err);

#endif
