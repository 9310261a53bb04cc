/* SPDX-License-Identifier: MIT
 *
 * import_names: finds the encoder in a file of weights by names alone: the prefixes of conv1 and layer1.0.conv1,
 * what these prefixes mean in known frameworks, and where each framework keeps its head and queue. What a reader
 * would get wrong: the parts "module", "_orig_mod" and "_fsdp_wrapped_module" of a name are ignored. Names are
 * compared, ordered and looked up without them; a prefix is shown as it is in the file. */
#ifndef MOCO_ALGO_IMPORT_NAMES_H
#define MOCO_ALGO_IMPORT_NAMES_H

#include "format/weights.h"

enum { IMPORT_PREFIX = 248, IMPORT_NAME = 384 /* a prefix followed by one of our names */ };

enum import_role { ROLE_QUERY, ROLE_KEY, ROLE_PLAIN };

/* All names of a file, in order. */
struct names {
    struct ctx *ctx;
    const struct weights *w;
    uint32_t *order; /* [count]: numbers of tensors of w */
    int64_t count;
};

moco_status names_open(struct names *n, struct ctx *ctx, const struct weights *w, struct err *err);
void names_close(struct names *n); /* also when empty */

/* Finds the tensor of this name without regard to wrappers. -1: there is none, -2: there are several. */
int64_t names_find(const struct names *n, const char *name);

/* Compares two names without regard to wrappers. */
int names_equal(const char *a, const char *b);

struct candidate {
    char prefix[IMPORT_PREFIX]; /* as it is in the file: empty, or with its last '.' */
    int indexed;                /* 1: its layers have numbers instead of names: 0 is conv1, 1 bn1, 4 layer1 */
    enum import_role role;
    int row;       /* of the table of frameworks; the number of rows if none fits */
    int64_t conv1; /* number of the tensor conv1.weight */
};

/* Finds candidate number `i` in the order of the file. Returns 0 if there is none. */
int candidate_at(const struct names *n, int64_t i, struct candidate *c);

/* Chooses the encoder of this prefix, or, if `prefix` is NULL, the one that the names suggest. With `key` it chooses
 * the key encoder beside it. Errors: MOCO_ENOTFOUND; MOCO_EINVAL if several fit, which the sentence lists. */
moco_status candidate_choose(const struct names *n, const char *prefix, int key, struct candidate *c, struct err *err);
/* Finds the key encoder beside a query encoder. Errors: MOCO_ENOTFOUND. */
moco_status candidate_partner(const struct names *n, const struct candidate *query, struct candidate *key,
                              struct err *err);

/* Writes the name that a tensor of our backbone ("layer1.0.bn1.weight") has in the file. Returns 0 if it is too long
 * for a name. */
int candidate_name(const struct candidate *c, const char *name, char text[IMPORT_NAME]);

/* Where an encoder's head is. */
struct head_place {
    char prefix[IMPORT_NAME]; /* what the file has instead of the "fc" of our names, without the last '.' */
    enum { HEAD_NONE, HEAD_ONE, HEAD_TWO, HEAD_OTHER } layers;
    /* HEAD_ONE: one linear layer. HEAD_TWO: linear, ReLU, linear. HEAD_OTHER: a head with BN or with more layers, whose
     * numbers must be those of our SimCLR heads. */
    int classifier; /* HEAD_ONE: nothing says that it is not a classifier */
};
void head_find(const struct names *n, const struct candidate *c, struct head_place *head);

/* Finds a tensor beside the encoders, "queue" or "queue_ptr". -1: there is none, -2: there are several. */
int64_t beside_find(const struct names *n, const struct candidate *query, const char *name);

#endif
