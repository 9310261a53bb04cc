/* SPDX-License-Identifier: MIT
 *
 * from_moco: the failure of a public call as the error record that the drivers pass around. */
#ifndef MOCO_EXAMPLES_FROM_MOCO_H
#define MOCO_EXAMPLES_FROM_MOCO_H

#include <moco/moco.h>

#include "err.h"

/* Records this thread's moco_error() if `status` is a failure; MOCO_OK passes through. */
moco_status from_moco(moco_status status, struct err *err);

#endif
