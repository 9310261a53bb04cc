/* SPDX-License-Identifier: MIT
 *
 * verify: checks pictures before the first step, so that a run does not end in the night because of them. With
 * --verify all of them are read whole, and bad ones are listed. Without it, up to VERIFY_FIRST of the training set
 * are read, for a minute at most. A run ends if there are more bad pictures than --max-bad allows, found here or by
 * the loader in the first epoch. Bad pictures that are found later are replaced and reported, and training
 * continues. */
#ifndef MOCO_EXAMPLES_VERIFY_H
#define MOCO_EXAMPLES_VERIFY_H

#include "images/open_data.h"
#include "run_config.h"

#define VERIFY_FIRST 2000
#define VERIFY_LIST "bad_pictures.txt"

/* Bad pictures of a set of `count` that are tolerated. */
int64_t verify_limit(const struct run_config *config, int64_t count);

/* --verify: both sets. `folder` gets VERIFY_LIST, a line for each bad picture: path, tab, reason; NULL: nowhere.
 * MOCO_EINVAL: too many are bad. */
moco_status verify_all(const struct run_config *config, const struct open_data *data, const char *folder,
                       int (*stop)(void), struct err *err);

/* The look that every run begins with. */
moco_status verify_first(const struct run_config *config, const struct open_data *data, int (*stop)(void),
                         void (*warn)(const char *sentence), struct err *err);

#endif
