/* SPDX-License-Identifier: MIT
 *
 * weights_listing: all that moco/weights.h says of a file, as text, a line for each tensor with the CRC-32 of its
 * numbers in the narrowest type that holds them exactly. make_weights.py writes the same lines from what PyTorch loads.
 */
#ifndef MOCO_TESTS_WEIGHTS_LISTING_H
#define MOCO_TESTS_WEIGHTS_LISTING_H

#include <stdio.h>

#include "moco/moco.h"

/* Writes the listing; a failure's sentence stands in it too, after "error ", and ends it. */
moco_status weights_listing(FILE *out, moco_context *context, const char *path);

#endif
