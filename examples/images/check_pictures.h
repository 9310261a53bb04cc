/* SPDX-License-Identifier: MIT
 *
 * check_pictures: reads pictures of a data set from beginning to end with several threads, and lists those that
 * cannot be read. What a reader would get wrong: training does not find all of them. A loader decodes only the part
 * that its views show, so that a picture whose last bytes are missing may go unnoticed for many epochs. */
#ifndef MOCO_EXAMPLES_CHECK_PICTURES_H
#define MOCO_EXAMPLES_CHECK_PICTURES_H

#include <moco/moco.h>

#include <stdio.h>

#include "err.h"

struct bad_picture {
    int64_t id;
    char *path, *reason; /* owned */
};

struct check_pictures {
    const moco_dataset *set; /* borrowed */
    int64_t limit;           /* at most so many, spread evenly over the set; 0: all */
    double seconds;          /* no new picture is begun after so long; 0: as long as it takes */
    int64_t max_pixels;      /* 0: the library's default */
    int workers;             /* threads; 0 is 1 */
    int (*stop)(void);       /* asked between pictures; not 0 ends with MOCO_ECANCELED. NULL: never */
    void (*progress)(int64_t looked, int64_t of); /* now and then, on the calling thread; NULL: nobody asks */
};

struct checked_pictures {
    int64_t looked, bad;
    struct bad_picture *list; /* [bad], by number */
};

/* Failures but bad pictures: MOCO_EIO, MOCO_ENOMEM, MOCO_ECANCELED. `out` is to be freed in any case. */
moco_status check_pictures(const struct check_pictures *check, struct checked_pictures *out, struct err *err);
/* A line for each bad picture: `lead`, its path, `between`, the reason. */
void checked_pictures_print(const struct checked_pictures *checked, FILE *to, const char *lead, const char *between);
void checked_pictures_free(struct checked_pictures *checked);

#endif
