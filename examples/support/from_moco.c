/* SPDX-License-Identifier: MIT
 *
 * from_moco: see from_moco.h. */
#include "from_moco.h"

moco_status from_moco(moco_status status, struct err *err)
{
    return status == MOCO_OK ? status : err_set(err, status, "%s", moco_error());
}
