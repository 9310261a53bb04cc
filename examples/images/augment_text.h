/* SPDX-License-Identifier: MIT
 *
 * augment_text: changes to a recipe of moco_augment_options in text form: "jitter_p=0.5,scale=0.08:1". Names are
 * those of the struct; two numbers of a range have a colon between them. What a reader would get wrong: two texts
 * with the same meaning are converted to the same text, because a run is compared with its checkpoint by it. */
#ifndef MOCO_EXAMPLES_AUGMENT_TEXT_H
#define MOCO_EXAMPLES_AUGMENT_TEXT_H

#include <moco/moco.h>

#include <stddef.h>

#include "err.h"

#define AUGMENT_TEXT 1024

/* `given`: such a text, or the path of a file that holds one: entries on lines or between commas, blanks as one likes, #
 * to the end of a line is a remark. "" becomes "". MOCO_EINVAL names the entry; MOCO_EIO. */
moco_status augment_text_settle(const char *given, char text[AUGMENT_TEXT], struct err *err);

/* A settled text. MOCO_EINVAL: it is none. Opens no file. */
moco_status augment_text_apply(moco_augment_options *recipe, const char *text, struct err *err);

#endif
