/* SPDX-License-Identifier: MIT
 *
 * unreadable: which images a pass over a data set could not read. Programs that score or print leave them out
 * (MOCO_BAD_SKIP), count them, and report the count with the first names. */
#ifndef MOCO_EXAMPLES_UNREADABLE_H
#define MOCO_EXAMPLES_UNREADABLE_H

#include <moco/moco.h>

#include "err.h"

#define UNREADABLE_NAMES 3
#define UNREADABLE_TEXT 1600 /* enough for unreadable_text */

/* What can be done about them, for a program with --max-pixels and --max-bad. */
#define UNREADABLE_REMEDY "repair or remove them, raise --max-pixels for those that are too large, or raise --max-bad"

struct unreadable {
    int64_t count, of; /* images that could not be read, of those that were asked for */
    int named;
    char name[UNREADABLE_NAMES][300]; /* paths of the first, or "image 17" */
    char reason[300];                 /* of the first */
};

/* What `loader` has met so far, beside `read` images that it gave. */
moco_status unreadable_ask(struct unreadable *unreadable, moco_loader *loader, int64_t read, struct err *err);

/* "WHAT: 4 of 12 could not be read and are left out: NAME (REASON), NAME, NAME and 1 more", in one line. */
const char *unreadable_text(const struct unreadable *unreadable, const char *what, char *text, size_t size);

/* MOCO_EINVAL if nothing could be read. */
moco_status unreadable_check(const struct unreadable *unreadable, const char *what, struct err *err);

#endif
