/* SPDX-License-Identifier: MIT
 *
 * markup: a page of HTML that grows in memory. Our own text goes in unchanged (markup_put, markup_printf). Every
 * name from a disk or a command line goes in by markup_text or markup_json, which escape its characters. What a
 * reader would get wrong: %s of markup_printf is for our own words only. The page is also well-formed XML (void
 * elements are closed, scripts are in CDATA), so that a strict parser can check it. */
#ifndef MOCO_EXAMPLES_MARKUP_H
#define MOCO_EXAMPLES_MARKUP_H

#include <stddef.h>

#include "err.h"

struct markup {
    char *text; /* ends in 0 once anything has been put */
    size_t used, room;
    int failed; /* out of memory: all later calls do nothing */
};

void markup_put(struct markup *m, const char *ours);

#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
void
markup_printf(struct markup *m, const char *format, ...);

/* Any bytes, as text or within a quoted attribute. What is not UTF-8, and what XML forbids, becomes U+FFFD. */
void markup_text(struct markup *m, const char *theirs);

/* The same as a JSON string with its quotes, safe within <script>. */
void markup_json(struct markup *m, const char *theirs);

/* A number in the fewest digits that read back as the same double; null if it is not finite. Valid JSON. */
void markup_number(struct markup *m, double value);

/* A number for a coordinate: two digits after the point at most. */
void markup_coordinate(struct markup *m, double value);

/* Replaces the file; MOCO_ENOMEM if putting failed before. */
moco_status markup_save(const struct markup *m, const char *path, struct err *err);
void markup_free(struct markup *m);

#endif
