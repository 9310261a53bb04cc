/* SPDX-License-Identifier: MIT
 *
 * frozen: has an encoder moved? A hash of every tensor, running statistics included, taken before and after. */
#ifndef MOCO_EXAMPLES_FROZEN_H
#define MOCO_EXAMPLES_FROZEN_H

#include <moco/moco.h>

#include "err.h"

#define FROZEN_TEXT 33

/* XXH3-128 over names and numbers, in hex. */
moco_status frozen_hash(moco_model *model, char text[FROZEN_TEXT], struct err *err);

#endif
