/* SPDX-License-Identifier: MIT
 *
 * import_source: one encoder of a file. First, which network its names and shapes describe; then, whether every
 * tensor fits; last, its numbers. Memory for numbers is taken between the last two, so that nothing is made that
 * does not fit. */
#ifndef MOCO_ALGO_IMPORT_SOURCE_H
#define MOCO_ALGO_IMPORT_SOURCE_H

#include "algo/encoder.h"
#include "algo/import/import_names.h"
#include "algo/import/import_report.h"

/* Instead of the number of a tensor of the file: a counter that is 0, a tensor of a fresh head. */
enum { SOURCE_ZERO = -1, SOURCE_DRAWN = -2 };

struct source {
    const struct names *names;
    struct candidate at;
    struct head_place head;
    int take_head;   /* 0: the head is drawn at random */
    int64_t *tensor; /* [state_count of the network]: numbers of tensors of the file */
};

/* Derives the network of the candidate s->at, and sets s->head and s->take_head. `options` is complete (import.h).
 * Errors: MOCO_EINVAL names an option; MOCO_EFORMAT names what none of our networks has. */
moco_status source_network(struct source *s, const moco_import_options *options, struct net_config *config,
                           moco_import_report *report, struct err *err);

/* Finds the tensor of every state of the network. MOCO_EFORMAT if one is missing or does not fit: the sentence names
 * the first, the report all of them. Free s->tensor by mem_free. */
moco_status source_match(struct source *s, const struct encoder *encoder, moco_import_report *report, struct err *err);

/* Returns the count of numbers in the largest tensor. */
int64_t source_largest(const struct encoder *encoder);

/* The memory through which numbers go from the file to the device. It has a part for each of the tensors that are read
 * side by side, in f32; if the device or the file has F64, one part in doubles. All parts together hold one tensor in
 * doubles. */
struct passage {
    size_t size; /* bytes of a number: 4 or 8 */
    int parts;
    size_t part; /* bytes of each part */
    char *room;
};
/* Allocates a passage for tensors of up to `largest` numbers. Free `room` by mem_free. */
moco_status passage_make(struct passage *p, const struct names *names, size_t real_bytes, int64_t largest,
                         struct err *err);

/* Reads all tensors into `numbers` and marks those of the file that were read in `used`. `ours` is put before our names
 * in the report: "encoder_q.". */
moco_status source_read(const struct source *s, const struct encoder *encoder, struct encoder_numbers *numbers,
                        const struct passage *passage, unsigned char *used, const char *ours,
                        moco_import_report *report, struct err *err);

/* Reads one tensor of the file as numbers of `size` bytes, and checks that the device's reals hold them. Reports what
 * the tensor became. */
moco_status source_numbers(const struct names *names, int64_t tensor, size_t real_bytes, const char *became,
                           void *values, size_t size, moco_import_report *report, struct err *err);

/* Reports the tensors that were not used. */
void source_unused(const struct names *names, const unsigned char *used, moco_import_report *report);

#endif
