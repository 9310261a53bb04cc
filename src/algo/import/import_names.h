/* SPDX-License-Identifier: MIT
 *
 * import_names: finds the encoder in a file of weights by names alone: the prefixes of conv1 and layer1.0.conv1,
 * what these prefixes mean in known frameworks, and where each framework keeps its head and queue. What a reader
 * would get wrong: the parts "module", "_orig_mod" and "_fsdp_wrapped_module" of a name are ignored. Names are
 * compared, ordered and looked up without them; a prefix is shown as it is in the file. */
#ifndef MOCO_ALGO_IMPORT_NAMES_H
#define MOCO_ALGO_IMPORT_NAMES_H

#include "format/weights.h"

enum { IMPORT_PREFIX = 248, IMPORT_NAME = 384 /* a prefix, and a name of ours behind it */ };

enum import_role { ROLE_QUERY, ROLE_KEY, ROLE_PLAIN };

/* All names of a file, ordered. */
struct names {
    struct ctx *ctx;
    const struct weights *w;
    uint32_t *order; /* [count]: tensors of w */
    int64_t count;
};

moco_status names_open(struct names *n, struct ctx *ctx, const struct weights *w, struct err *err);
void names_close(struct names *n); /* also when empty */

/* The tensor of this name, wrappers aside; -1: none, -2: more than one. */
int64_t names_find(const struct names *n, const char *name);

/* Are `a` and `b` one name, wrappers aside? */
int names_equal(const char *a, const char *b);

struct candidate {
    char prefix[IMPORT_PREFIX]; /* as in the file, "" or with its last '.' */
    int indexed;                /* 1: its parts are numbers: 0 is conv1, 1 bn1, 4 layer1 */
    enum import_role role;
    int row;       /* of the table of frameworks; the number of rows: in none */
    int64_t conv1; /* its tensor */
};

/* Candidate number `i` in the order of the file; 0: there is none. */
int candidate_at(const struct names *n, int64_t i, struct candidate *c);

/* The encoder that `prefix` (NULL: none is named) or else the names tell; with `key` the key encoder beside it.
 * MOCO_ENOTFOUND, MOCO_EINVAL: more than one, listed. */
moco_status candidate_choose(const struct names *n, const char *prefix, int key, struct candidate *c, struct err *err);
/* The key encoder beside a query encoder; MOCO_ENOTFOUND. */
moco_status candidate_partner(const struct names *n, const struct candidate *query, struct candidate *key,
                              struct err *err);

/* The name in the file of the backbone's tensor `name` ("layer1.0.bn1.weight"). 0: too long to be one. */
int candidate_name(const struct candidate *c, const char *name, char text[IMPORT_NAME]);

/* Where an encoder's head is. */
struct head_place {
    char prefix[IMPORT_NAME]; /* stands for the "fc" of our names, with its last '.' left out */
    enum { HEAD_NONE, HEAD_ONE, HEAD_TWO, HEAD_OTHER } layers;
    /* HEAD_ONE: one linear layer. HEAD_TWO: linear, ReLU, linear. HEAD_OTHER: with BN, or more layers, as ours count
     * them. */
    int classifier; /* HEAD_ONE: nothing says that it is not a classifier */
};
void head_find(const struct names *n, const struct candidate *c, struct head_place *head);

/* The tensor beside the encoders: "queue", "queue_ptr"; -1: none, -2: more than one. */
int64_t beside_find(const struct names *n, const struct candidate *query, const char *name);

#endif
