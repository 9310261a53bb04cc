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

enum { SOURCE_ZERO = -1, SOURCE_DRAWN = -2 }; /* instead of a tensor of the file: a count of 0, a fresh head's */

struct source {
    const struct names *names;
    struct candidate at;
    struct head_place head;
    int take_head;   /* 0: it is drawn */
    int64_t *tensor; /* [state_count] of the network */
};

/* Network of the candidate s->at, and s->head, s->take_head. `options` has every field set that the header promises a
 * default for. MOCO_EINVAL names an option; MOCO_EFORMAT what no network of ours has. */
moco_status source_network(struct source *s, const moco_import_options *options, struct net_config *config,
                           moco_import_report *report, struct err *err);

/* Finds the tensor of every state of the network. MOCO_EFORMAT: not all are there as they must be; the sentence names the
 * first, the report all. Free s->tensor by mem_free. */
moco_status source_match(struct source *s, const struct encoder *encoder, moco_import_report *report, struct err *err);

/* Numbers of the largest tensor. */
int64_t source_largest(const struct encoder *encoder);

/* Where numbers are on their way from the file to the device: a tensor in f32, one for each of two that are read side by
 * side, or, where the device or the file has F64, one in doubles. The room of all parts holds a tensor in doubles. */
struct passage {
    size_t size; /* of a number: 4 or 8 */
    int parts;
    size_t part; /* bytes of each */
    char *room;
};
/* For tensors of up to `largest` numbers. Free `room` by mem_free. */
moco_status passage_make(struct passage *p, const struct names *names, size_t real_bytes, int64_t largest,
                         struct err *err);

/* Reads all into `numbers`, marks `used` [tensors of the file]. `ours` stands before our names in the report:
 * "encoder_q.". */
moco_status source_read(const struct source *s, const struct encoder *encoder, struct encoder_numbers *numbers,
                        const struct passage *passage, unsigned char *used, const char *ours,
                        moco_import_report *report, struct err *err);

/* One tensor of the file in numbers of `size` bytes that the device's reals hold. Says in the report what it became. */
moco_status source_numbers(const struct names *names, int64_t tensor, size_t real_bytes, const char *became,
                           void *values, size_t size, moco_import_report *report, struct err *err);

/* Lines of what nothing became of. */
void source_unused(const struct names *names, const unsigned char *used, moco_import_report *report);

#endif
