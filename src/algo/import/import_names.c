/* SPDX-License-Identifier: MIT
 *
 * import_names: see import_names.h. The table of frameworks says which names follow the container ("state_dict.",
 * "model.", any other, or none) in the files of each. A file that matches no row still counts if it looks like an
 * encoder. */
#include "algo/import/import_names.h"

#include <stdio.h>
#include <string.h>

#include "sort.h"

enum { TAILS = 4 };

/* What follows the container in a name: the prefix of the query encoder, prefixes of key encoders beside it, and the
 * heads of both. NULL ends a list. If a file has one encoder under two names, the upper row wins. */
static const struct framework {
    const char *query, *key[TAILS + 1], *head[TAILS], *key_head[TAILS + 1];
} frameworks[] = {
    {"encoder_q.", {"encoder_k."}, {"encoder_q.fc"}, {"encoder_k.fc"}},           /* official MoCo, libmoco */
    {"encoder_q.0.", {"encoder_k.0."}, {"encoder_q.1.mlp"}, {"encoder_k.1.mlp"}}, /* MMSelfSup 0.x */
    {"backbone.",                                                                 /* solo-learn, lightly, MMPretrain */
     {"momentum_backbone.", "key_backbone.", "backbone_momentum.", "encoder_k.0."},
     {"projector", "projection_head.layers", "neck.mlp"},
     {"momentum_projector", "key_projection_head.layers", "projection_head_momentum.layers", "encoder_k.1.mlp"}},
    {"base_encoder.", {"momentum_encoder."}, {NULL}, {NULL}},                   /* MoCo v3, whose heads are others */
    {"encoder.", {"momentum_encoder."}, {"projector"}, {"momentum_projector"}}, /* older solo-learn, SimSiam */
    {"_feature_blocks.", {NULL}, {NULL}, {NULL}},                               /* VISSL */
};
enum { FRAMEWORKS = sizeof frameworks / sizeof frameworks[0] };

/* Momentum in libmoco's own training states: it has the names of an encoder, but is none. */
static const char momentum_tail[] = "momentum.encoder_q.";

/* ---- names without wrappers ---- */

/* Skips the parts that wrappers put in front of a name. `at` is the beginning of a part. */
static const char *unwrap(const char *at)
{
    static const char *const wrappers[] = {"module.", "_orig_mod.", "_fsdp_wrapped_module."};
    for (size_t i = 0; i < sizeof wrappers / sizeof wrappers[0];) {
        size_t size = strlen(wrappers[i]);
        if (*at == *wrappers[i] && strncmp(at, wrappers[i], size) == 0) {
            at += size;
            i = 0;
        } else {
            i++;
        }
    }
    return at;
}

/* Orders two names as if their wrappers were not there. */
static int compare(const char *a, const char *b)
{
    a = unwrap(a);
    b = unwrap(b);
    while (*a == *b && *a != 0) {
        int part = *a == '.';
        a = part ? unwrap(a + 1) : a + 1;
        b = part ? unwrap(b + 1) : b + 1;
    }
    return (unsigned char)*a < (unsigned char)*b ? -1 : *a != *b;
}

int names_equal(const char *a, const char *b)
{
    return compare(a, b) == 0;
}

/* Copies a name without its wrappers. */
static void strip(const char *name, char *text, size_t size)
{
    size_t used = 0;
    for (name = unwrap(name); *name != 0 && used + 1 < size; name = *name == '.' ? unwrap(name + 1) : name + 1)
        text[used++] = *name;
    text[used] = 0;
}

static const char *name_of(const struct names *n, int64_t tensor)
{
    struct weights_tensor t;
    weights_at(n->w, tensor, &t);
    return t.name;
}

static int by_name(const void *a, const void *b, const void *user)
{
    const struct names *n = user;
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    int order = compare(name_of(n, x), name_of(n, y));
    return order != 0 ? order : x < y ? -1 : x > y;
}

moco_status names_open(struct names *n, struct ctx *ctx, const struct weights *w, struct err *err)
{
    *n = (struct names){.ctx = ctx, .w = w, .count = weights_count(w)}; /* tables of a file hold fewer than 2^32 */
    n->order = mem_array(ctx, (size_t)n->count, sizeof *n->order, err);
    if (n->order == NULL)
        return MOCO_ENOMEM;
    for (int64_t i = 0; i < n->count; i++)
        n->order[i] = (uint32_t)i;
    sort_array(n->order, (size_t)n->count, sizeof *n->order, by_name, n);
    return MOCO_OK;
}

void names_close(struct names *n)
{
    if (n->ctx != NULL)
        mem_free(n->ctx, n->order);
    *n = (struct names){0};
}

int64_t names_find(const struct names *n, const char *name)
{
    int64_t low = 0, high = n->count;
    while (low < high) { /* finds the first name that is not before `name` */
        int64_t middle = low + (high - low) / 2;
        if (compare(name_of(n, n->order[middle]), name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == n->count || compare(name_of(n, n->order[low]), name) != 0)
        return -1;
    int again = low + 1 < n->count && compare(name_of(n, n->order[low + 1]), name) == 0;
    return again ? -2 : (int64_t)n->order[low];
}

/* Finds the tensor whose name is `prefix` followed by `name`. */
static int64_t find_joined(const struct names *n, const char *prefix, const char *name)
{
    char text[IMPORT_NAME];
    int size = snprintf(text, sizeof text, "%s%s", prefix, name);
    return size < IMPORT_NAME ? names_find(n, text) : -1;
}

/* ---- candidates ---- */

/* Tells whether `text` ends in `tail` at the beginning of a part; *rest is the length before it. */
static int ends_in(const char *text, const char *tail, size_t *rest)
{
    size_t size = strlen(text), end = strlen(tail);
    if (size < end || strcmp(text + size - end, tail) != 0 || (size > end && text[size - end - 1] != '.'))
        return 0;
    *rest = size - end;
    return 1;
}

/* Finds the row of the table and the role that the prefix says. Returns 0 if these names are no encoder's. */
static int read_role(struct candidate *c)
{
    char stripped[IMPORT_NAME];
    size_t rest;
    strip(c->prefix, stripped, sizeof stripped);
    c->role = ROLE_PLAIN;
    c->row = FRAMEWORKS;
    if (ends_in(stripped, momentum_tail, &rest))
        return 0;
    for (int i = 0; i < FRAMEWORKS && c->row == FRAMEWORKS; i++) {
        int key = 0;
        for (int k = 0; k <= TAILS && frameworks[i].key[k] != NULL; k++)
            key |= ends_in(stripped, frameworks[i].key[k], &rest);
        if (key || ends_in(stripped, frameworks[i].query, &rest)) {
            c->row = i;
            c->role = key ? ROLE_KEY : ROLE_QUERY;
        }
    }
    return 1;
}

/* Makes a candidate of a tensor that is some encoder's conv1.weight and has a layer1 beside it; else returns 0. */
static int read_candidate(const struct names *n, int64_t tensor, struct candidate *c)
{
    static const char *const first[2] = {"conv1.weight", "0.weight"};
    static const char *const second[2] = {"layer1.0.conv1.weight", "4.0.conv1.weight"};
    const char *name = name_of(n, tensor);
    for (int indexed = 0; indexed < 2; indexed++) {
        size_t rest;
        if (!ends_in(name, first[indexed], &rest) || rest >= IMPORT_PREFIX)
            continue;
        memcpy(c->prefix, name, rest);
        c->prefix[rest] = 0;
        c->indexed = indexed;
        c->conv1 = tensor;
        if (find_joined(n, c->prefix, second[indexed]) != -1)
            return read_role(c);
    }
    return 0;
}

/* Finds the next candidate from tensor *at on. */
static int candidate_next(const struct names *n, int64_t *at, struct candidate *c)
{
    while (*at < n->count)
        if (read_candidate(n, (*at)++, c))
            return 1;
    return 0;
}

int candidate_at(const struct names *n, int64_t i, struct candidate *c)
{
    int64_t at = 0;
    while (candidate_next(n, &at, c))
        if (i-- == 0)
            return 1;
    return 0;
}

/* Writes all prefixes of the file for a sentence: "encoder_q.", "encoder_k.". */
static void list_candidates(const struct names *n, char *text, size_t size)
{
    struct candidate c;
    int64_t at = 0;
    size_t used = 0;
    text[0] = 0;
    while (used < size && candidate_next(n, &at, &c))
        used += (size_t)snprintf(text + used, size - used, "%s\"%.60s\"", used > 0 ? ", " : "", c.prefix);
}

/* Tells whether two candidates are one encoder under two names: their conv1 has the same bytes of the file. */
static int same_place(const struct names *n, const struct candidate *a, const struct candidate *b)
{
    struct weights_tensor x, y;
    weights_at(n->w, a->conv1, &x);
    weights_at(n->w, b->conv1, &y);
    return x.offset == y.offset;
}

static moco_status choose_named(const struct names *n, const char *prefix, struct candidate *c, struct err *err)
{
    char wanted[IMPORT_PREFIX + 2], listed[256];
    size_t size = strlen(prefix);
    int64_t at = 0;
    snprintf(wanted, sizeof wanted, "%s%s", prefix, size > 0 && prefix[size - 1] != '.' ? "." : "");
    while (candidate_next(n, &at, c))
        if (names_equal(c->prefix, wanted))
            return MOCO_OK;
    list_candidates(n, listed, sizeof listed);
    return err_set(err, MOCO_ENOTFOUND, "%.200s: no ResNet begins with \"%.80s\"%s%s", weights_path(n->w), prefix,
                   listed[0] != 0 ? "; there is " : ": no name in it ends in conv1.weight with a layer1 beside it",
                   listed);
}

/* Says why nothing in the file is an encoder, by what comes nearest to one. */
static moco_status none_found(const struct names *n, struct err *err)
{
    for (int64_t i = 0; i < n->count; i++) {
        size_t rest;
        char deep[IMPORT_NAME];
        if (!ends_in(name_of(n, i), "layer1.0.conv1.weight", &rest) || rest >= IMPORT_PREFIX)
            continue;
        snprintf(deep, sizeof deep, "%.*sconv1.0.weight", (int)rest, name_of(n, i));
        if (names_find(n, deep) >= 0)
            return err_set(err, MOCO_EFORMAT,
                           "%.200s: %.100s is there and no conv1.weight: a network with a deep stem (resnet-d), which "
                           "is not known here",
                           weights_path(n->w), deep);
        return err_set(err, MOCO_EFORMAT, "%.200s: %.100s is there and no conv1.weight before it", weights_path(n->w),
                       name_of(n, i));
    }
    return err_set(err, MOCO_ENOTFOUND,
                   "%.200s: there is no ResNet in it: no name ends in conv1.weight with layer1.0.conv1.weight beside "
                   "it; its first tensor is %.80s",
                   weights_path(n->w), n->count > 0 ? name_of(n, 0) : "none at all");
}

moco_status candidate_choose(const struct names *n, const char *prefix, int key, struct candidate *c, struct err *err)
{
    struct candidate next;
    char listed[300];
    int64_t at = 0;
    int found = 0, keys = 0;
    if (prefix != NULL)
        return choose_named(n, prefix, c, err);
    while (candidate_next(n, &at, &next)) {
        if (next.role == ROLE_KEY) {
            keys++;
        } else if (found == 0 || next.role < c->role) { /* a name that says query wins over one that says nothing */
            *c = next;
            found = 1;
        } else if (next.role == c->role) {
            if (!same_place(n, c, &next))
                found++;
            else if (next.row < c->row)
                *c = next;
        }
    }
    if (found == 1) {
        next = *c;
        return key ? candidate_partner(n, &next, c, err) : MOCO_OK;
    }
    if (found == 0 && keys == 0)
        return none_found(n, err);
    list_candidates(n, listed, sizeof listed);
    return err_set(err, MOCO_EINVAL, "%.160s: which encoder? Say it by its prefix (--prefix of the programs): %s",
                   weights_path(n->w), listed);
}

/* Writes what comes before the table's prefix in the names of a candidate. */
static void container_of(const struct candidate *c, char text[IMPORT_NAME])
{
    const struct framework *f = &frameworks[c->row];
    size_t rest = 0;
    strip(c->prefix, text, IMPORT_NAME);
    if (c->role == ROLE_QUERY)
        ends_in(text, f->query, &rest);
    for (int k = 0; c->role == ROLE_KEY && k <= TAILS && f->key[k] != NULL; k++)
        if (ends_in(text, f->key[k], &rest))
            break;
    text[rest] = 0;
}

moco_status candidate_partner(const struct names *n, const struct candidate *query, struct candidate *key,
                              struct err *err)
{
    char container[IMPORT_NAME], wanted[IMPORT_NAME];
    for (int k = 0; query->role == ROLE_QUERY && k <= TAILS && frameworks[query->row].key[k] != NULL; k++) {
        int64_t at = 0;
        container_of(query, container);
        snprintf(wanted, sizeof wanted, "%.*s%s", IMPORT_PREFIX, container, frameworks[query->row].key[k]);
        while (candidate_next(n, &at, key))
            if (names_equal(key->prefix, wanted)) {
                key->role = ROLE_KEY;
                key->row = query->row;
                return MOCO_OK;
            }
    }
    return err_set(err, MOCO_ENOTFOUND, "%.200s: there is no key encoder beside \"%.100s\"", weights_path(n->w),
                   query->prefix);
}

int candidate_name(const struct candidate *c, const char *name, char text[IMPORT_NAME])
{
    const char *part = name, *number = "";
    char digit[2] = "";
    if (c->indexed) { /* the parts are numbered in order: conv1, bn1, ReLU, pooling, then the layers */
        if (strncmp(name, "conv1.", 6) == 0 || strncmp(name, "bn1.", 4) == 0) {
            number = name[0] == 'c' ? "0" : "1";
            part = strchr(name, '.');
        } else if (strncmp(name, "layer", 5) == 0) {
            digit[0] = (char)(name[5] + 3);
            number = digit;
            part = name + 6;
        }
    }
    return snprintf(text, IMPORT_NAME, "%s%s%s", c->prefix, number, part) < IMPORT_NAME;
}

/* ---- beside the backbone ---- */

static int is_there(const struct names *n, const char *prefix, const char *name)
{
    return find_joined(n, prefix, name) != -1;
}

/* Tells the kind of a head by the numbers in its names. In nn.Sequential a ReLU has a number and no tensor; a BN has
 * both. */
static int read_head(const struct names *n, struct head_place *head)
{
    const char *at = head->prefix;
    head->layers = HEAD_NONE;
    if (is_there(n, at, ".weight"))
        head->layers = HEAD_ONE;
    else if (is_there(n, at, ".0.weight"))
        head->layers = is_there(n, at, ".2.weight") && !is_there(n, at, ".1.weight") && !is_there(n, at, ".3.weight") &&
                               !is_there(n, at, ".4.weight")
                           ? HEAD_TWO
                           : HEAD_OTHER;
    return head->layers != HEAD_NONE;
}

void head_find(const struct names *n, const struct candidate *c, struct head_place *head)
{
    *head = (struct head_place){.classifier = c->row == FRAMEWORKS};
    if (c->row == FRAMEWORKS) {
        snprintf(head->prefix, sizeof head->prefix, "%sfc", c->prefix);
        read_head(n, head);
        return;
    }
    const struct framework *f = &frameworks[c->row];
    const char *const *tails = c->role == ROLE_KEY ? f->key_head : f->head;
    char container[IMPORT_NAME];
    container_of(c, container);
    for (int i = 0; i < (c->role == ROLE_KEY ? TAILS + 1 : TAILS) && tails[i] != NULL; i++) {
        snprintf(head->prefix, sizeof head->prefix, "%.*s%s", IMPORT_PREFIX, container, tails[i]);
        if (read_head(n, head))
            return;
    }
    head->layers = HEAD_NONE;
}

int64_t beside_find(const struct names *n, const struct candidate *query, const char *name)
{
    char container[IMPORT_NAME] = "";
    if (query->row < FRAMEWORKS)
        container_of(query, container);
    return find_joined(n, container, name);
}
