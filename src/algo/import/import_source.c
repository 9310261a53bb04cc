/* SPDX-License-Identifier: MIT
 *
 * import_source: see import_source.h. */
#include "algo/import/import_source.h"

#include <stdio.h>
#include <string.h>

#include "algo/each.h"
#include "algo/reals.h"
#include "num.h"

/* ---- does every tensor fit? ---- */

static int is_head(const char *name)
{
    return strncmp(name, "fc.", 3) == 0;
}

/* Writes the name that our tensor `name` has in the file. Returns 0 if it is too long for a name. */
static int name_of(const struct source *s, const char *name, char text[IMPORT_NAME])
{
    if (!is_head(name))
        return candidate_name(&s->at, name, text);
    return snprintf(text, IMPORT_NAME, "%s%s", s->head.prefix, name + 2) < IMPORT_NAME;
}

static void shape_text(char *text, size_t size, const int64_t *shape, int ndim)
{
    size_t used = (size_t)snprintf(text, size, "[");
    for (int d = 0; d < ndim && used < size; d++)
        used += (size_t)snprintf(text + used, size - used, d == 0 ? "%lld" : ",%lld", (long long)shape[d]);
    if (used < size)
        snprintf(text + used, size - used, "]");
}

static int same_shape(const struct weights_tensor *t, const struct tensor_shape *wanted)
{
    if (wanted->integer) /* a counter: one number, in however many dimensions */
        return t->count == 1 && t->ndim <= 1;
    return t->ndim == wanted->ndim &&
           memcmp(t->shape, wanted->shape, (size_t)wanted->ndim * sizeof wanted->shape[0]) == 0;
}

static int is_real(enum safetensors_dtype dtype)
{
    return dtype == SAFETENSORS_F64 || dtype == SAFETENSORS_F32 || dtype == SAFETENSORS_F16 ||
           dtype == SAFETENSORS_BF16;
}

/* How many tensors do not fit, and the sentence about the first. */
struct misfits {
    int64_t count;
    char first[400];
};

static void misfit(struct misfits *m, moco_import_report *report, moco_import_kind kind, const char *sentence)
{
    if (m->count++ == 0)
        snprintf(m->first, sizeof m->first, "%s", sentence);
    import_say(report, kind, "%s", sentence);
}

/* MOCO_EFORMAT if the file has something of this name that is not a tensor; the sentence says what it is. */
static moco_status check_unread(const struct source *s, const char *name, struct err *err)
{
    int64_t nowhere;
    struct err why = {0};
    if (weights_find(s->names->w, name, &nowhere, &why) == MOCO_EFORMAT)
        return err_set(err, MOCO_EFORMAT, "%s", why.text);
    return MOCO_OK;
}

/* Finds the tensor for our tensor `i`. One that does not fit is only counted, so that the report can list all of
 * them. */
static moco_status match_tensor(struct source *s, const struct encoder *e, int i, struct misfits *m,
                                moco_import_report *report, struct err *err)
{
    char name[IMPORT_NAME] = "", sentence[400], here[200], there[100];
    struct tensor_shape wanted;
    struct weights_tensor t;
    encoder_tensor_shape(e, i, &wanted);
    int64_t at = name_of(s, e->names[i], name) ? names_find(s->names, name) : -1;
    s->tensor[i] = at;
    if (at == -1 && wanted.integer) {
        s->tensor[i] = SOURCE_ZERO;
        import_say(report, MOCO_IMPORT_MISSING, "%.300s is not there; it is 0", name);
        return MOCO_OK;
    }
    if (at < 0) {
        if (at == -1)
            TRY(check_unread(s, name, err));
        snprintf(sentence, sizeof sentence, "%s %.250s",
                 at == -1 ? "there is no tensor" : "there are two tensors named", name);
        misfit(m, report, at == -1 ? MOCO_IMPORT_MISSING : MOCO_IMPORT_MISMATCHED, sentence);
        return MOCO_OK;
    }
    weights_at(s->names->w, at, &t);
    if (!wanted.integer && !is_real(t.dtype)) {
        snprintf(sentence, sizeof sentence, "%.250s is %s; weights are F64, F32, F16 or BF16", t.name,
                 safetensors_dtype_name(t.dtype));
        misfit(m, report, MOCO_IMPORT_MISMATCHED, sentence);
    } else if (!same_shape(&t, &wanted)) {
        shape_text(here, sizeof here, t.shape, t.ndim);
        shape_text(there, sizeof there, wanted.shape, wanted.ndim);
        snprintf(sentence, sizeof sentence, "%.150s is %.60s; a %s of width %g with the head %s has %s there", t.name,
                 here, net_arch_name(e->config.depth), e->config.width, net_head_name(e->config.head), there);
        misfit(m, report, MOCO_IMPORT_MISMATCHED, sentence);
    }
    return MOCO_OK;
}

moco_status source_match(struct source *s, const struct encoder *e, moco_import_report *report, struct err *err)
{
    struct misfits m = {0};
    s->tensor = mem_array(e->ctx, (size_t)e->graph->state_count, sizeof *s->tensor, err);
    if (s->tensor == NULL)
        return MOCO_ENOMEM;
    for (int i = 0; i < e->graph->state_count; i++) {
        if (is_head(e->names[i]) && !s->take_head)
            s->tensor[i] = SOURCE_DRAWN;
        else
            TRY(match_tensor(s, e, i, &m, report, err));
    }
    if (m.count == 0)
        return MOCO_OK;
    char others[64] = "";
    if (m.count > 1)
        snprintf(others, sizeof others, " (and %lld others do not fit)", (long long)m.count - 1);
    return err_set(err, MOCO_EFORMAT, "%.120s: %s%s", weights_path(s->names->w), m.first, others);
}

/* ---- numbers ---- */

int64_t source_largest(const struct encoder *e)
{
    int64_t largest = 1;
    for (int i = 0; i < e->graph->state_count; i++) {
        struct tensor_shape shape;
        encoder_tensor_shape(e, i, &shape);
        largest = shape.count > largest ? shape.count : largest;
    }
    return largest;
}

static moco_status bad(const struct names *n, const struct err *why, struct err *err)
{
    return err_set(err, MOCO_EFORMAT, "%.160s: %s", weights_path(n->w), why->text);
}

moco_status passage_make(struct passage *p, const struct names *n, size_t real_bytes, int64_t largest, struct err *err)
{
    *p = (struct passage){.size = real_bytes, .parts = real_bytes == sizeof(float) ? EACH_PARTS : 1};
    for (int64_t i = 0; i < n->count && p->size == sizeof(float); i++) {
        struct weights_tensor t;
        weights_at(n->w, i, &t);
        if (t.dtype == SAFETENSORS_F64)
            *p = (struct passage){.size = sizeof(double), .parts = 1};
    }
    if (__builtin_mul_overflow((size_t)largest, p->size, &p->part) || p->part > SIZE_MAX / 4)
        return err_set(err, MOCO_ENOMEM, "no memory for %lld numbers", (long long)largest);
    p->part = (p->part + 63) & ~(size_t)63;
    p->room = mem_alloc(n->ctx, p->part * (size_t)p->parts, err);
    return p->room != NULL ? MOCO_OK : MOCO_ENOMEM;
}

static moco_status load(const struct names *n, int64_t tensor, size_t real_bytes, void *values, size_t size,
                        struct err *err)
{
    struct weights_tensor t;
    struct err why = {0};
    enum weights_number number = size == sizeof(float) ? WEIGHTS_F32 : WEIGHTS_F64;
    int64_t first;
    weights_at(n->w, tensor, &t);
    TRY(weights_read_finite((struct weights *)(uintptr_t)n->w, tensor, number, values, &first, err));
    if (!is_real(t.dtype))
        return MOCO_OK;
    moco_status status = size > real_bytes ? reals_check(values, size, t.count, real_bytes, t.name, &why)
                         : first >= 0      ? reals_bad(values, size, first, t.name, &why)
                                           : MOCO_OK;
    return status != MOCO_OK ? bad(n, &why, err) : MOCO_OK;
}

static void say_used(const struct names *n, int64_t tensor, size_t real_bytes, const char *became,
                     moco_import_report *report)
{
    struct weights_tensor t;
    weights_at(n->w, tensor, &t);
    import_say(report, MOCO_IMPORT_USED, "%.240s is %.240s", t.name, became);
    if (t.dtype == SAFETENSORS_F64 && real_bytes == sizeof(float))
        import_say(report, MOCO_IMPORT_ROUNDED, "%.300s was F64 and is f32", t.name);
    if (t.dtype == SAFETENSORS_F16 || t.dtype == SAFETENSORS_BF16)
        import_say(report, MOCO_IMPORT_WIDENED, "%.300s was %s and is f%d", t.name, safetensors_dtype_name(t.dtype),
                   (int)real_bytes * 8);
    if (!t.proved)
        import_say(report, MOCO_IMPORT_UNVERIFIED, "no checksum proves %.300s", t.name);
}

moco_status source_numbers(const struct names *n, int64_t tensor, size_t real_bytes, const char *became, void *values,
                           size_t size, moco_import_report *report, struct err *err)
{
    TRY(load(n, tensor, real_bytes, values, size, err));
    say_used(n, tensor, real_bytes, became, report);
    return MOCO_OK;
}

/* Checks what only some tensors must be: a count must be a count, and a variance not negative. */
static moco_status check_state(const struct source *s, const struct encoder *e, int i, const void *values, size_t size,
                               struct err *err)
{
    struct tensor_shape shape;
    struct weights_tensor t;
    struct err why = {0};
    encoder_tensor_shape(e, i, &shape);
    weights_at(s->names->w, s->tensor[i], &t);
    if (shape.integer && encoder_check_count(*(const double *)values, t.name, &why) != MOCO_OK)
        return bad(s->names, &why, err);
    for (int64_t c = 0; shape.variance && c < shape.count; c++) {
        double value = real_at(values, size, (size_t)c);
        if (value < 0) {
            char text[NUM_TEXT];
            num_format_double(text, value);
            return err_set(err, MOCO_EFORMAT, "%.160s: number %lld of %.200s is %s; a variance is never below 0",
                           weights_path(s->names->w), (long long)c, t.name, text);
        }
    }
    return MOCO_OK;
}

struct reading {
    const struct source *s;
    const struct encoder *e;
    struct encoder_numbers *numbers;
    const struct passage *passage;
};

static moco_status read_one(void *self, int part, int i, struct err *err)
{
    const struct reading *r = self;
    const struct encoder *e = r->e;
    const struct passage *p = r->passage;
    struct tensor_shape shape;
    void *values = p->room + p->part * (size_t)part;
    if (r->s->tensor[i] < 0)
        return MOCO_OK;
    encoder_tensor_shape(e, i, &shape);
    size_t size = shape.integer ? sizeof(double) : p->size;
    TRY(load(r->s->names, r->s->tensor[i], e->real_bytes, values, size, err));
    TRY(check_state(r->s, e, i, values, size, err));
    return encoder_tensor_set(e, r->numbers, i, values, size, err);
}

/* Gives a tensor that the file does not have the numbers of a fresh network. `values` has space for its doubles. */
static moco_status draw(const struct encoder *e, struct encoder_numbers *numbers, int i, double *values,
                        struct err *err)
{
    const struct graph_state *state = &e->graph->states[i];
    struct tensor_shape shape;
    encoder_tensor_shape(e, i, &shape);
    if (state->kind == STATE_PARAM)
        init_param(e->graph, state->index, e->config.seed, values);
    for (int64_t c = 0; state->kind != STATE_PARAM && c < shape.count; c++)
        values[c] = state->kind == STATE_VAR;
    return encoder_tensor_set(e, numbers, i, values, sizeof *values, err);
}

moco_status source_read(const struct source *s, const struct encoder *e, struct encoder_numbers *numbers,
                        const struct passage *passage, unsigned char *used, const char *ours,
                        moco_import_report *report, struct err *err)
{
    struct reading reading = {s, e, numbers, passage};
    const struct each each = {e->be, e->dev, passage->parts, e->graph->state_count, &reading, read_one};
    int done = 0;
    moco_status status = each_run(&each, &done, err);
    for (int i = 0; i < done; i++) {
        char became[ENCODER_NAME + 32];
        snprintf(became, sizeof became, "%s%s", ours, e->names[i]);
        if (s->tensor[i] >= 0) {
            say_used(s->names, s->tensor[i], e->real_bytes, became, report);
            used[s->tensor[i]] = 1;
        }
    }
    for (int i = 0; i < e->graph->state_count && status == MOCO_OK; i++)
        if (s->tensor[i] < 0)
            status = draw(e, numbers, i, (double *)(void *)passage->room, err);
    return status;
}

void source_unused(const struct names *n, const unsigned char *used, moco_import_report *report)
{
    for (int64_t i = 0; i < n->count; i++) {
        struct weights_tensor t;
        char shape[200];
        if (used[i])
            continue;
        weights_at(n->w, i, &t);
        shape_text(shape, sizeof shape, t.shape, t.ndim);
        import_say(report, MOCO_IMPORT_UNUSED, "%.300s %s %s", t.name, safetensors_dtype_name(t.dtype), shape);
    }
}
