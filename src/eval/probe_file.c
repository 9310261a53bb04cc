/* SPDX-License-Identifier: MIT
 *
 * probe_file: a probe as a safetensors file, with the momentum of its SGD, so that training continues to the bit. */
#include <float.h>

#include "algo/file_config.h"
#include "algo/reals.h"
#include "algo/state_file.h"
#include "eval/probe.h"

static const char *const names[] = {"fc.weight", "fc.bias", "momentum.fc.weight", "momentum.fc.bias"};
static const char *const lr_keys[PROBE_RATES] = {"probe.lr.0",  "probe.lr.1",  "probe.lr.2",  "probe.lr.3",
                                                 "probe.lr.4",  "probe.lr.5",  "probe.lr.6",  "probe.lr.7",
                                                 "probe.lr.8",  "probe.lr.9",  "probe.lr.10", "probe.lr.11",
                                                 "probe.lr.12", "probe.lr.13", "probe.lr.14", "probe.lr.15"};

static float *block(struct probe *p, int i)
{
    float *const blocks[] = {p->weight, p->bias, p->weight_v, p->bias_v};
    return blocks[i];
}

static const char *name(void *self, int i)
{
    (void)self;
    return names[i];
}

static void shape(void *self, int i, struct tensor_shape *out)
{
    const struct probe_config *c = &((struct probe *)self)->config;
    int weight = i % 2 == 0;
    *out = (struct tensor_shape){.ndim = weight ? 3 : 2, .shape = {c->rates, c->classes, weight ? c->dim : 0}};
    out->count = (int64_t)c->rates * c->classes * (weight ? c->dim : 1);
}

static moco_status get(void *self, int i, void *values, size_t size, struct err *err)
{
    (void)err;
    struct tensor_shape s;
    shape(self, i, &s);
    reals_convert(values, size, block(self, i), sizeof(float), (size_t)s.count);
    return MOCO_OK;
}

static moco_status set(void *self, int i, const void *values, size_t size, struct err *err)
{
    (void)err;
    struct tensor_shape s;
    shape(self, i, &s);
    reals_convert(block(self, i), sizeof(float), values, size, (size_t)s.count);
    return MOCO_OK;
}

static struct state state_of(struct probe *probe)
{
    return (struct state){.self = probe,
                          .count = 4,
                          .real_bytes = sizeof(float),
                          .file_bytes = sizeof(float),
                          .name = name,
                          .shape = shape,
                          .get = get,
                          .set = set};
}

static moco_status put(struct safetensors_metadata *m, const struct probe *p, const char *note, struct err *err)
{
    const struct probe_config *c = &p->config;
    TRY(config_put_kind(m, FILE_PROBE, err));
    TRY(safetensors_metadata_add_int(m, "probe.dim", c->dim, err));
    TRY(safetensors_metadata_add_int(m, "probe.classes", c->classes, err));
    TRY(safetensors_metadata_add_int(m, "probe.rates", c->rates, err));
    for (int r = 0; r < c->rates; r++)
        TRY(safetensors_metadata_add_double(m, lr_keys[r], c->lr[r], err));
    TRY(safetensors_metadata_add_double(m, "probe.momentum", c->momentum, err));
    TRY(safetensors_metadata_add_double(m, "probe.weight_decay", c->weight_decay, err));
    TRY(safetensors_metadata_add_int(m, "probe.seed", (int64_t)c->seed, err));
    TRY(safetensors_metadata_add_int(m, "state.step", p->steps, err));
    return note != NULL ? safetensors_metadata_add(m, "note", note, err) : MOCO_OK;
}

moco_status probe_save(struct probe *probe, const char *path, const char *note, struct err *err)
{
    struct state state = state_of(probe);
    struct safetensors_metadata metadata;
    safetensors_metadata_init(&metadata, probe->ctx);
    moco_status status = put(&metadata, probe, note, err);
    if (status == MOCO_OK)
        status = state_save(probe->ctx, path, &state, &metadata, err);
    safetensors_metadata_free(&metadata);
    return status;
}

static moco_status read_config(const struct safetensors *f, struct probe_config *c, int64_t *steps, struct err *err)
{
    enum file_kind kind;
    int64_t dim, classes, rates, seed;
    TRY(config_get_kind(f, &kind, err));
    if (kind != FILE_PROBE)
        return err_set(err, MOCO_EFORMAT, "%s: it is not a probe, but %s", safetensors_path(f),
                       config_kind_words(kind));
    TRY(safetensors_get_int(f, "probe.dim", 1, 1 << 20, &dim, err));
    TRY(safetensors_get_int(f, "probe.classes", 2, 1 << 20, &classes, err));
    TRY(safetensors_get_int(f, "probe.rates", 1, PROBE_RATES, &rates, err));
    *c = (struct probe_config){.dim = (int)dim, .classes = (int)classes, .rates = (int)rates};
    for (int r = 0; r < c->rates; r++)
        TRY(safetensors_get_double(f, lr_keys[r], 0, DBL_MAX, &c->lr[r], err));
    TRY(safetensors_get_double(f, "probe.momentum", 0, 1, &c->momentum, err));
    TRY(safetensors_get_double(f, "probe.weight_decay", 0, DBL_MAX, &c->weight_decay, err));
    TRY(safetensors_get_int(f, "probe.seed", INT64_MIN, INT64_MAX, &seed, err));
    c->seed = (uint64_t)seed;
    return safetensors_get_int(f, "state.step", 0, INT64_MAX / 2, steps, err);
}

static moco_status read_probe(struct probe **out, struct ctx *ctx, const struct backend *backend, struct be_device *dev,
                              const struct safetensors *file, struct err *err)
{
    struct probe_config config;
    int64_t steps;
    TRY(safetensors_verify(file, NULL, NULL, err));
    TRY(read_config(file, &config, &steps, err));
    struct probe blank = {.config = config};
    struct state shapes = state_of(&blank);
    TRY(state_check(file, "", 1, &shapes, err)); /* before memory is taken for what the header claims */
    moco_status status = probe_create(out, ctx, backend, dev, &config, err);
    if (status != MOCO_OK)
        return config_bad(file, status, err);
    struct state state = state_of(*out);
    (*out)->steps = steps;
    return state_read(ctx, file, "", &state, err);
}

moco_status probe_open(struct probe **out, struct ctx *ctx, const struct backend *backend, struct be_device *dev,
                       const char *path, char *note, size_t note_size, struct err *err)
{
    *out = NULL;
    struct safetensors *file = NULL;
    TRY(safetensors_open(&file, ctx, path, 0, err));
    moco_status status = read_probe(out, ctx, backend, dev, file, err);
    if (status == MOCO_OK)
        status = config_get_note(file, note, note_size, err);
    safetensors_close(file);
    if (status != MOCO_OK) {
        probe_free(*out);
        *out = NULL;
    }
    return status;
}
