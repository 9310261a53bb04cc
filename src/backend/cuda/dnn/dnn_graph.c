/* SPDX-License-Identifier: MIT
 *
 * dnn_graph: see dnn_graph.h. What a reader would get wrong: cuDNN's documents do not say what may be given back once a
 * plan is made of it, so that a plan keeps everything it was made of. */
#include "backend/cuda/dnn/dnn_graph.h"

#include <stdio.h>
#include <string.h>

enum { NAME_X = 1, NAME_W = 2, NAME_Y = 3 };
enum { MOST_CONFIGS = 64, NAMED = 3, ALIGNMENT = 16 };
enum { KEPT_X, KEPT_W, KEPT_Y, KEPT_CONV, KEPT_OP, KEPT_GRAPH };

/* ---- errors ---- */

/* cuDNN's words for its last failure, on one line. */
static moco_status failed(const struct dnn_library *lib, dnn_status status, moco_status as, const char *what,
                          struct err *err)
{
    char why[320] = "";
    lib->last_error(why, sizeof why);
    why[sizeof why - 1] = 0;
    for (char *c = why; *c != 0; c++)
        if (*c == '\n')
            *c = ' ';
    return err_set(err, as, "cuDNN: %s: %.100s%s%.300s", what, lib->error_string(status), why[0] != 0 ? ": " : "", why);
}

#define DNN_TRY(lib, call, what)                                                                                       \
    do {                                                                                                               \
        dnn_status status_ = (call);                                                                                   \
        if (status_ != DNN_OK)                                                                                         \
            return failed((lib), status_, MOCO_EDEVICE, (what), err);                                                  \
    } while (0)

/* ---- a GPU, or its description ---- */

moco_status dnn_open(struct dnn *out, const struct dnn_library *lib, dnn_stream stream, struct err *err)
{
    *out = (struct dnn){.lib = lib};
    dnn_status status = lib->create(&out->handle);
    if (status == DNN_OK)
        status = lib->set_stream(out->handle, stream);
    if (status == DNN_OK)
        return MOCO_OK;
    failed(lib, status, MOCO_ENODEV, "it does not start", err);
    dnn_close(out);
    return MOCO_ENODEV;
}

moco_status dnn_open_described(struct dnn *out, const struct dnn_library *lib, const char *json, struct err *err)
{
    *out = (struct dnn){.lib = lib};
    dnn_status status = lib->make(DNN_THING_DEVICE, &out->device);
    if (status == DNN_OK)
        status = lib->set(out->device, DNN_DEVICE_JSON, DNN_TYPE_CHAR, (int64_t)strlen(json) + 1, json);
    if (status == DNN_OK)
        status = lib->finalize(out->device);
    if (status == DNN_OK)
        return MOCO_OK;
    failed(lib, status, MOCO_EINVAL, "the description of a GPU was not taken", err);
    dnn_close(out);
    return MOCO_EINVAL;
}

void dnn_close(struct dnn *dnn)
{
    if (dnn->handle != NULL)
        dnn->lib->destroy(dnn->handle);
    if (dnn->device != NULL)
        dnn->lib->drop(dnn->device);
    *dnn = (struct dnn){.lib = NULL};
}

moco_status dnn_stream_set(struct dnn *dnn, dnn_stream stream, struct err *err)
{
    DNN_TRY(dnn->lib, dnn->lib->set_stream(dnn->handle, stream), "its stream cannot be changed");
    return MOCO_OK;
}

size_t dnn_reserve(enum be_precision precision)
{
    return (size_t)(precision == BE_F32 || precision == BE_TF32 ? 64 : 32) << 20;
}

/* Engines of 16-bit numbers read 16 bytes of channels at once; else they copy all of a map into workspace. */
int dnn_channels(enum be_precision precision, int channels)
{
    int each = precision == BE_BF16 || precision == BE_F16 ? 8 : 1;
    return (channels + each - 1) / each * each;
}

/* ---- the graph ---- */

static int number_of(enum be_precision precision)
{
    return precision == BE_BF16 ? DNN_BF16 : precision == BE_F16 ? DNN_F16 : DNN_F32;
}

static moco_status set_one(const struct dnn_library *lib, dnn_descriptor to, dnn_attribute attribute, dnn_type type,
                           const void *value, struct err *err)
{
    DNN_TRY(lib, lib->set(to, attribute, type, 1, value), "a graph cannot be made");
    return MOCO_OK;
}

static moco_status make_tensor(const struct dnn_library *lib, dnn_descriptor *out, int64_t name, int number, int n,
                               int h, int w, int c, struct err *err)
{
    int64_t size[4] = {n, c, h, w}, alignment = ALIGNMENT;
    int64_t stride[4] = {(int64_t)h * w * c, 1, (int64_t)w * c, c};
    DNN_TRY(lib, lib->make(DNN_THING_TENSOR, out), "a tensor cannot be made");
    TRY(set_one(lib, *out, DNN_TENSOR_NUMBER, DNN_TYPE_NUMBER, &number, err));
    TRY(set_one(lib, *out, DNN_TENSOR_NAME, DNN_TYPE_INT64, &name, err));
    TRY(set_one(lib, *out, DNN_TENSOR_ALIGNMENT, DNN_TYPE_INT64, &alignment, err));
    DNN_TRY(lib, lib->set(*out, DNN_TENSOR_DIMENSIONS, DNN_TYPE_INT64, 4, size), "a tensor cannot be made");
    DNN_TRY(lib, lib->set(*out, DNN_TENSOR_STRIDES, DNN_TYPE_INT64, 4, stride), "a tensor cannot be made");
    DNN_TRY(lib, lib->finalize(*out), "a tensor was not taken");
    return MOCO_OK;
}

static moco_status make_convolution(const struct dnn_library *lib, dnn_descriptor *out, const struct dnn_conv *conv,
                                    struct err *err)
{
    int64_t dimensions = 2, stride[2] = {conv->stride, conv->stride}, pad[2] = {conv->pad, conv->pad}, one[2] = {1, 1};
    int compute = DNN_F32, mode = DNN_CROSS_CORRELATION;
    const struct {
        dnn_attribute attribute;
        const int64_t *values;
    } pairs[] = {
        {DNN_CONV_STRIDES, stride}, {DNN_CONV_PADS_BEFORE, pad}, {DNN_CONV_PADS_AFTER, pad}, {DNN_CONV_DILATIONS, one}};
    DNN_TRY(lib, lib->make(DNN_THING_CONVOLUTION, out), "a convolution cannot be made");
    TRY(set_one(lib, *out, DNN_CONV_COMPUTE, DNN_TYPE_NUMBER, &compute, err));
    TRY(set_one(lib, *out, DNN_CONV_MODE, DNN_TYPE_CONV_MODE, &mode, err));
    TRY(set_one(lib, *out, DNN_CONV_DIMENSIONS, DNN_TYPE_INT64, &dimensions, err));
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        DNN_TRY(lib, lib->set(*out, pairs[i].attribute, DNN_TYPE_INT64, 2, pairs[i].values),
                "a convolution cannot be made");
    DNN_TRY(lib, lib->finalize(*out), "a convolution was not taken");
    return MOCO_OK;
}

/* The operation of each pass, and its attributes: of tensors in the order of KEPT_X, KEPT_W, KEPT_Y. */
static const struct {
    dnn_thing thing;
    dnn_attribute alpha, beta, conv, tensor[3];
} operations[] = {
    [DNN_FORWARD] = {DNN_THING_FORWARD,
                     DNN_FORWARD_ALPHA,
                     DNN_FORWARD_BETA,
                     DNN_FORWARD_CONV,
                     {DNN_FORWARD_X, DNN_FORWARD_W, DNN_FORWARD_Y}},
    [DNN_DATA] = {DNN_THING_DATA, DNN_DATA_ALPHA, DNN_DATA_BETA, DNN_DATA_CONV, {DNN_DATA_DX, DNN_DATA_W, DNN_DATA_DY}},
    [DNN_WEIGHTS] = {DNN_THING_WEIGHTS,
                     DNN_WEIGHTS_ALPHA,
                     DNN_WEIGHTS_BETA,
                     DNN_WEIGHTS_CONV,
                     {DNN_WEIGHTS_X, DNN_WEIGHTS_DW, DNN_WEIGHTS_DY}},
};

static moco_status make_graph(const struct dnn *dnn, dnn_descriptor kept[DNN_KEPT], const struct dnn_conv *conv,
                              struct err *err)
{
    const struct dnn_library *lib = dnn->lib;
    int number = number_of(conv->precision), pass = conv->pass;
    float one = 1, zero = 0;
    dnn_descriptor *op = &kept[KEPT_OP], *graph = &kept[KEPT_GRAPH];
    TRY(make_tensor(lib, &kept[KEPT_X], NAME_X, number, conv->n, conv->h, conv->w, conv->ci, err));
    TRY(make_tensor(lib, &kept[KEPT_W], NAME_W, number, conv->co, conv->kernel, conv->kernel, conv->ci, err));
    TRY(make_tensor(lib, &kept[KEPT_Y], NAME_Y, number, conv->n, conv->oh, conv->ow, conv->co, err));
    TRY(make_convolution(lib, &kept[KEPT_CONV], conv, err));
    DNN_TRY(lib, lib->make(operations[pass].thing, op), "an operation cannot be made");
    TRY(set_one(lib, *op, operations[pass].conv, DNN_TYPE_DESCRIPTOR, &kept[KEPT_CONV], err));
    for (int i = 0; i < NAMED; i++)
        TRY(set_one(lib, *op, operations[pass].tensor[i], DNN_TYPE_DESCRIPTOR, &kept[KEPT_X + i], err));
    TRY(set_one(lib, *op, operations[pass].alpha, DNN_TYPE_FLOAT, &one, err));
    TRY(set_one(lib, *op, operations[pass].beta, DNN_TYPE_FLOAT, &zero, err));
    DNN_TRY(lib, lib->finalize(*op), "an operation was not taken");
    DNN_TRY(lib, lib->make(DNN_THING_GRAPH, graph), "a graph cannot be made");
    if (dnn->handle != NULL)
        TRY(set_one(lib, *graph, DNN_GRAPH_HANDLE, DNN_TYPE_HANDLE, &dnn->handle, err));
    TRY(set_one(lib, *graph, DNN_GRAPH_OPS, DNN_TYPE_DESCRIPTOR, op, err));
    DNN_TRY(lib, lib->finalize(*graph), "a graph was not taken");
    return MOCO_OK;
}

/* ---- choosing ---- */

static int has(const int *notes, int64_t count, int note)
{
    for (int64_t i = 0; i < count; i++)
        if (notes[i] == note)
            return 1;
    return 0;
}

/* May an engine with these notes compute in this precision? Winograd's and Fourier's ways round elsewhere than a sum of
 * products does. */
static int may_compute(const int *notes, int64_t count, enum be_precision precision)
{
    static const int never[] = {DNN_NOTE_NONDETERMINISTIC, DNN_NOTE_REDUCED_SUM, DNN_NOTE_FFT, DNN_NOTE_WINOGRAD};
    static const int never_strict[] = {DNN_NOTE_TENSOR_CORE, DNN_NOTE_DOWN_CONVERT};
    for (size_t i = 0; i < sizeof never / sizeof *never; i++)
        if (has(notes, count, never[i]))
            return 0;
    for (size_t i = 0; i < sizeof never_strict / sizeof *never_strict && precision == BE_F32; i++)
        if (has(notes, count, never_strict[i]))
            return 0;
    return 1;
}

/* Looks at the engine of a configuration: its number, and whether it will do. */
static moco_status look(const struct dnn_library *lib, dnn_descriptor config, enum be_precision precision, int *will_do,
                        int *number, struct err *err)
{
    dnn_descriptor engine = NULL;
    int numerical[DNN_NOTE_COUNT], behavior[DNN_BEHAVIOR_COUNT];
    int64_t got = 0, numericals = 0, behaviors = 0, index = -1;
    DNN_TRY(lib, lib->make(DNN_THING_ENGINE, &engine), "an engine cannot be made");
    dnn_status status = lib->get(config, DNN_CONFIG_ENGINE, DNN_TYPE_DESCRIPTOR, 1, &got, &engine);
    if (status == DNN_OK)
        status = lib->get(engine, DNN_ENGINE_NUMERICAL, DNN_TYPE_NUMERICAL, DNN_NOTE_COUNT, &numericals, numerical);
    if (status == DNN_OK)
        status = lib->get(engine, DNN_ENGINE_BEHAVIOR, DNN_TYPE_BEHAVIOR, DNN_BEHAVIOR_COUNT, &behaviors, behavior);
    if (status == DNN_OK)
        status = lib->get(engine, DNN_ENGINE_NUMBER, DNN_TYPE_INT64, 1, &got, &index);
    lib->drop(engine);
    DNN_TRY(lib, status, "an engine does not say what it is");
    *number = (int)index;
    *will_do = may_compute(numerical, numericals, precision) && !has(behavior, behaviors, DNN_NOTE_COMPILES) &&
               !has(behavior, behaviors, DNN_NOTE_CUBLASLT);
    return MOCO_OK;
}

/* Types and values of the knobs of a configuration, behind the engine's number. */
static dnn_status read_knobs(const struct dnn_library *lib, dnn_descriptor config, dnn_descriptor *knobs, char *name)
{
    size_t used = strlen(name);
    int64_t count = 0, got = 0;
    dnn_status status = lib->get(config, DNN_CONFIG_KNOBS, DNN_TYPE_DESCRIPTOR, DNN_KNOB_COUNT, &count, knobs);
    for (int64_t i = 0; i < count && status == DNN_OK && used < DNN_NAME; i++) {
        int type = -1;
        int64_t value = -1;
        status = lib->get(knobs[i], DNN_KNOB_TYPE, DNN_TYPE_KNOB, 1, &got, &type);
        if (status == DNN_OK)
            status = lib->get(knobs[i], DNN_KNOB_VALUE, DNN_TYPE_INT64, 1, &got, &value);
        used += (size_t)snprintf(name + used, DNN_NAME - used, " %d=%lld", type, (long long)value);
    }
    return status;
}

static moco_status name_engine(const struct dnn_library *lib, dnn_descriptor config, int number, char name[DNN_NAME],
                               struct err *err)
{
    dnn_descriptor knobs[DNN_KNOB_COUNT] = {0};
    dnn_status status = DNN_OK;
    snprintf(name, DNN_NAME, "%d", number);
    for (int i = 0; i < DNN_KNOB_COUNT && status == DNN_OK; i++)
        status = lib->make(DNN_THING_KNOB, &knobs[i]);
    if (status == DNN_OK)
        status = read_knobs(lib, config, knobs, name);
    for (int i = 0; i < DNN_KNOB_COUNT; i++)
        if (knobs[i] != NULL)
            lib->drop(knobs[i]);
    DNN_TRY(lib, status, "an engine does not say what its knobs are");
    return MOCO_OK;
}

/* Makes the plan; *fits = 0: this configuration does not run here, or wants too much workspace. */
static moco_status make_plan(struct dnn_engine *out, const struct dnn *dnn, dnn_descriptor config, size_t reserve,
                             int *fits, struct err *err)
{
    const struct dnn_library *lib = dnn->lib;
    int64_t got = 0, workspace = 0;
    *fits = 0;
    DNN_TRY(lib, lib->make(DNN_THING_PLAN, &out->plan), "a plan cannot be made");
    if (dnn->handle != NULL)
        TRY(set_one(lib, out->plan, DNN_PLAN_HANDLE, DNN_TYPE_HANDLE, &dnn->handle, err));
    else
        TRY(set_one(lib, out->plan, DNN_PLAN_DEVICE, DNN_TYPE_DESCRIPTOR, &dnn->device, err));
    TRY(set_one(lib, out->plan, DNN_PLAN_CONFIG, DNN_TYPE_DESCRIPTOR, &config, err));
    if (lib->finalize(out->plan) == DNN_OK) {
        DNN_TRY(lib, lib->get(out->plan, DNN_PLAN_WORKSPACE, DNN_TYPE_INT64, 1, &got, &workspace),
                "a plan does not say what workspace it wants");
        out->workspace = (size_t)workspace;
        *fits = out->workspace <= reserve;
    }
    if (!*fits) {
        lib->drop(out->plan);
        out->plan = NULL;
    }
    return MOCO_OK;
}

/* What is looked for. */
struct wish {
    int most;
    const char *name; /* NULL: any */
};

/* *took: this configuration is one of those, and is the plan's from now on. */
static moco_status try_config(struct dnn_plan *out, const struct dnn *dnn, const struct wish *wish,
                              dnn_descriptor config, int *took, struct err *err)
{
    struct dnn_engine *e = &out->engine[out->count];
    int will_do = 0;
    *took = 0;
    TRY(look(dnn->lib, config, out->conv.precision, &will_do, &e->number, err));
    if (!will_do)
        return MOCO_OK;
    TRY(name_engine(dnn->lib, config, e->number, e->name, err));
    if (wish->name == NULL || strcmp(wish->name, e->name) == 0)
        TRY(make_plan(e, dnn, config, dnn_reserve(out->conv.precision), took, err));
    if (!*took)
        return MOCO_OK;
    e->config = config;
    out->workspace = e->workspace > out->workspace ? e->workspace : out->workspace;
    out->count++;
    return MOCO_OK;
}

static moco_status try_configs(struct dnn_plan *out, const struct dnn *dnn, const struct wish *wish,
                               dnn_descriptor *configs, int64_t count, struct err *err)
{
    for (int64_t i = 0; i < count && out->count < wish->most; i++) {
        int took;
        TRY(try_config(out, dnn, wish, configs[i], &took, err));
        if (took)
            configs[i] = NULL;
        out->passed += out->count == 0;
    }
    return MOCO_OK;
}

/* One way of cuDNN's to name engines for a graph. */
static moco_status try_mode(struct dnn_plan *out, const struct dnn *dnn, const struct wish *wish, int mode,
                            dnn_descriptor heuristics, struct err *err)
{
    const struct dnn_library *lib = dnn->lib;
    dnn_descriptor configs[MOST_CONFIGS] = {0};
    int64_t count = 0, got = 0;
    moco_status status = MOCO_OK;
    TRY(set_one(lib, heuristics, DNN_HEURISTICS_GRAPH, DNN_TYPE_DESCRIPTOR, &out->kept[KEPT_GRAPH], err));
    TRY(set_one(lib, heuristics, DNN_HEURISTICS_MODE, DNN_TYPE_HEURISTICS, &mode, err));
    if (dnn->device != NULL)
        TRY(set_one(lib, heuristics, DNN_HEURISTICS_DEVICE, DNN_TYPE_DESCRIPTOR, &dnn->device, err));
    if (lib->finalize(heuristics) != DNN_OK)
        return MOCO_OK; /* it names none */
    DNN_TRY(lib, lib->get(heuristics, DNN_HEURISTICS_RESULTS, DNN_TYPE_DESCRIPTOR, 0, &count, NULL), "no engines");
    if (count > MOST_CONFIGS)
        count = MOST_CONFIGS;
    dnn_status said = DNN_OK;
    for (int64_t i = 0; i < count && said == DNN_OK; i++)
        said = lib->make(DNN_THING_CONFIG, &configs[i]);
    if (said == DNN_OK && count > 0)
        said = lib->get(heuristics, DNN_HEURISTICS_RESULTS, DNN_TYPE_DESCRIPTOR, count, &got, configs);
    if (said != DNN_OK)
        status = failed(lib, said, MOCO_EDEVICE, "its engines cannot be listed", err);
    else
        status = try_configs(out, dnn, wish, configs, got, err);
    for (int64_t i = 0; i < count; i++)
        if (configs[i] != NULL)
            lib->drop(configs[i]);
    return status;
}

static moco_status choose(struct dnn_plan *out, const struct dnn *dnn, const struct wish *wish, struct err *err)
{
    static const int modes[] = {DNN_HEURISTICS_BEST, DNN_HEURISTICS_FALLBACK};
    const struct dnn_library *lib = dnn->lib;
    char text[DNN_CONV_TEXT];
    TRY(make_graph(dnn, out->kept, &out->conv, err));
    for (size_t i = 0; i < sizeof modes / sizeof *modes && out->count == 0; i++) {
        dnn_descriptor heuristics = NULL;
        DNN_TRY(lib, lib->make(DNN_THING_HEURISTICS, &heuristics), "heuristics cannot be made");
        moco_status status = try_mode(out, dnn, wish, modes[i], heuristics, err);
        lib->drop(heuristics);
        if (status != MOCO_OK)
            return status;
    }
    if (out->count > 0)
        return MOCO_OK;
    if (wish->name != NULL)
        return err_set(err, MOCO_ENOTSUP, "cuDNN: no engine \"%.120s\" that will do for the %s", wish->name,
                       dnn_conv_text(&out->conv, text));
    return err_set(err, MOCO_ENOTSUP, "cuDNN: no engine for the %s: %d were looked at", dnn_conv_text(&out->conv, text),
                   out->passed);
}

const char *dnn_conv_text(const struct dnn_conv *conv, char text[DNN_CONV_TEXT])
{
    static const char *const passes[] = {"forward", "data gradient", "weight gradient"};
    snprintf(text, DNN_CONV_TEXT,
             "%s in %s of a convolution of %d x %d x %d x %d, %d channels, kernel %d, stride %d, pad %d",
             passes[conv->pass], backend_precision_name((int)conv->precision), conv->n, conv->h, conv->w, conv->ci,
             conv->co, conv->kernel, conv->stride, conv->pad);
    return text;
}

moco_status dnn_choose(struct dnn_plan *out, const struct dnn *dnn, const struct dnn_conv *conv, int most,
                       const char *name, struct err *err)
{
    const struct wish wish = {.most = name != NULL ? 1 : most, .name = name};
    *out = (struct dnn_plan){.lib = dnn->lib, .conv = *conv};
    moco_status status = choose(out, dnn, &wish, err);
    if (status != MOCO_OK)
        dnn_plan_free(out);
    return status;
}

static void drop(const struct dnn_library *lib, dnn_descriptor *descriptor)
{
    if (*descriptor != NULL)
        lib->drop(*descriptor);
    *descriptor = NULL;
}

static void free_engine(const struct dnn_library *lib, struct dnn_engine *e)
{
    drop(lib, &e->plan);
    drop(lib, &e->config);
}

void dnn_take(struct dnn_plan *plan, int which)
{
    struct dnn_engine taken = plan->engine[which];
    plan->engine[which] = (struct dnn_engine){.plan = NULL};
    for (int i = 0; i < plan->count; i++)
        free_engine(plan->lib, &plan->engine[i]);
    plan->engine[0] = taken;
    plan->count = 1;
    plan->taken = 0;
}

void dnn_plan_free(struct dnn_plan *plan)
{
    drop(plan->lib, &plan->pack);
    for (int i = 0; i < DNN_ENGINES; i++) /* one may be half made */
        free_engine(plan->lib, &plan->engine[i]);
    for (int i = DNN_KEPT - 1; i >= 0; i--)
        drop(plan->lib, &plan->kept[i]);
    *plan = (struct dnn_plan){.lib = NULL};
}

/* ---- running ---- */

/* Addresses repeat from step to step. */
static moco_status pack(struct dnn_plan *plan, const void *const at[4], struct err *err)
{
    const struct dnn_library *lib = plan->lib;
    const int64_t names[NAMED] = {NAME_X, NAME_W, NAME_Y};
    if (plan->pack != NULL && memcmp(plan->packed, at, sizeof plan->packed) == 0)
        return MOCO_OK;
    if (plan->pack != NULL)
        lib->drop(plan->pack);
    plan->pack = NULL;
    memset(plan->packed, 0, sizeof plan->packed); /* until all is given */
    DNN_TRY(lib, lib->make(DNN_THING_PACK, &plan->pack), "addresses cannot be given");
    DNN_TRY(lib, lib->set(plan->pack, DNN_PACK_NAMES, DNN_TYPE_INT64, NAMED, names), "addresses cannot be given");
    DNN_TRY(lib, lib->set(plan->pack, DNN_PACK_ADDRESSES, DNN_TYPE_ADDRESS, NAMED, at), "addresses cannot be given");
    DNN_TRY(lib, lib->set(plan->pack, DNN_PACK_WORKSPACE, DNN_TYPE_ADDRESS, 1, &at[NAMED]),
            "the workspace cannot be given");
    DNN_TRY(lib, lib->finalize(plan->pack), "addresses were not taken");
    memcpy(plan->packed, at, sizeof plan->packed);
    return MOCO_OK;
}

moco_status dnn_run(const struct dnn *dnn, struct dnn_plan *plan, const void *x, const void *w, const void *y,
                    const void *workspace, struct err *err)
{
    const void *const at[4] = {x, w, y, workspace};
    TRY(pack(plan, at, err));
    DNN_TRY(plan->lib, plan->lib->execute(dnn->handle, plan->engine[plan->taken].plan, plan->pack),
            "a convolution was refused");
    return MOCO_OK;
}
