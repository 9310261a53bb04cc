/* SPDX-License-Identifier: MIT
 *
 * tool_export: tool_export FOLDER [ARCH STEM HEAD WIDTH DIM SIDE] trains a network for three steps on noise, so that
 * batch norm's statistics, the momentum and the queue are not what they began as, and writes it in every form that
 * moco/export.h has, each beside the images and embeddings of moco_model_embed as raw numbers, for peers to compare. */
#include <moco/moco.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BATCH 4
#define STEPS 3

static char folder[512];

static void ok(moco_status status)
{
    if (status == MOCO_OK)
        return;
    fprintf(stderr, "tool_export: %s\n", moco_error());
    exit(1);
}

static void *take(size_t bytes)
{
    void *memory = malloc(bytes);
    if (memory == NULL)
        exit(1);
    return memory;
}

static const char *in_folder(const char *name)
{
    static char path[1024];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void write_raw(const char *name, const void *bytes, size_t size)
{
    FILE *file = fopen(in_folder(name), "wb");
    if (file == NULL || fwrite(bytes, 1, size, file) != size || fclose(file) != 0)
        exit(1);
}

/* Coarse blocks of colour: noise of single pixels leaves a network with nothing to tell apart. */
static void draw(uint8_t *pixels, int n, int side, uint32_t seed)
{
    for (int i = 0; i < n; i++)
        for (int y = 0; y < side; y++)
            for (int x = 0; x < side; x++)
                for (int c = 0; c < 3; c++) {
                    uint32_t h = seed + (uint32_t)(i * 7919 + (y / 8) * 104729 + (x / 8) * 1299709 + c * 15485863);
                    h = (h ^ h >> 15) * UINT32_C(0x2c1b3c6d);
                    h = (h ^ h >> 12) * UINT32_C(0x297a2d39);
                    pixels[((i * side + y) * side + x) * 3 + c] = (uint8_t)((h >> 16 & 0xdf) + (unsigned)(x + y) % 32);
                }
}

static void train(moco_trainer *trainer, int side)
{
    size_t bytes = (size_t)BATCH * (size_t)side * (size_t)side * 3;
    uint8_t *views[2] = {take(bytes), take(bytes)};
    moco_batch batch;
    moco_batch_init(&batch);
    batch.n = BATCH;
    batch.h = batch.w = side;
    batch.views = 2;
    for (int step = 0; step < STEPS; step++) {
        for (int v = 0; v < 2; v++) {
            draw(views[v], BATCH, side, (uint32_t)(2 * step + v));
            batch.view[v] = views[v];
        }
        ok(moco_trainer_step(trainer, &batch, 0.03));
    }
    free(views[0]);
    free(views[1]);
}

/* n images as bytes and as the numbers that they are normalised to, and their vectors by either way. */
static void write_embeddings(moco_model *model, int n, int side)
{
    moco_model_info info;
    moco_tensor in, out;
    char name[64];
    size_t numbers = (size_t)n * 3 * (size_t)side * (size_t)side;
    uint8_t *bytes = take(numbers);
    float *planes = take(numbers * sizeof *planes);
    moco_model_info_init(&info);
    ok(moco_model_describe(model, &info));
    draw(bytes, n, side, 99);
    for (int i = 0; i < n; i++)
        for (int p = 0; p < side * side; p++)
            for (int c = 0; c < 3; c++)
                planes[(i * 3 + c) * side * side + p] =
                    (float)((bytes[(i * side * side + p) * 3 + c] / 255.0 - info.mean[c]) / info.std[c]);
    snprintf(name, sizeof name, "bytes%d.raw", n);
    write_raw(name, bytes, numbers);
    snprintf(name, sizeof name, "planes%d.raw", n);
    write_raw(name, planes, numbers * sizeof *planes);
    for (int f32 = 0; f32 < 2; f32++)
        for (int what = 0; what < 2; what++) {
            int32_t dim = what == 0 ? info.feature_dim : info.dim;
            float *vectors = take((size_t)n * (size_t)dim * sizeof *vectors);
            moco_tensor_init(&in);
            moco_tensor_init(&out);
            in.dtype = f32 ? MOCO_F32 : MOCO_U8;
            in.ndim = 4;
            const int64_t u8_shape[4] = {n, side, side, 3}, f32_shape[4] = {n, 3, side, side};
            memcpy(in.shape, f32 ? f32_shape : u8_shape, sizeof f32_shape);
            in.data = f32 ? (void *)planes : bytes;
            out.dtype = MOCO_F32;
            out.ndim = 2;
            out.shape[0] = n;
            out.shape[1] = dim;
            out.data = vectors;
            ok(moco_model_embed(model, &in, what == 0 ? MOCO_FEATURES : MOCO_PROJECTION, &out));
            snprintf(name, sizeof name, "%s%d.%s.raw", what == 0 ? "features" : "projection", n, f32 ? "f32" : "u8");
            write_raw(name, vectors, (size_t)n * (size_t)dim * sizeof *vectors);
            free(vectors);
        }
    free(bytes);
    free(planes);
}

static void export_all(moco_model *model, int plain)
{
    static const struct {
        const char *name;
        int head, u8, separate_bn;
    } files[] = {{"backbone.safetensors", 0, 0, 0},
                 {"whole.safetensors", 1, 0, 0},
                 {"backbone.pth", 0, 0, 0},
                 {"whole.pth", 1, 0, 0},
                 {"backbone.pkl", 0, 0, 0},
                 {"f32.onnx", 1, 0, 0},
                 {"u8.onnx", 1, 1, 0},
                 {"bn.onnx", 1, 0, 1},
                 {"features.onnx", 0, 0, 0},
                 {"folder/", 0, 0, 0}};
    moco_export_options o;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        if (strcmp(files[i].name, "folder/") == 0 && !plain)
            continue;
        moco_export_options_init(&o);
        o.head = files[i].head;
        o.onnx_input = files[i].u8;
        o.separate_bn = files[i].separate_bn;
        ok(moco_model_export(model, in_folder(files[i].name), &o));
    }
}

/* Every tensor of the training state, behind one another, and a line for each: name and count. */
static void write_state(moco_trainer *trainer)
{
    FILE *names, *numbers;
    if ((names = fopen(in_folder("state.txt"), "w")) == NULL || (numbers = fopen(in_folder("state.raw"), "wb")) == NULL)
        exit(1);
    const char *name;
    for (int i = 0; (name = moco_trainer_tensor_name(trainer, i)) != NULL; i++) {
        moco_tensor t;
        int64_t count = 1;
        if (strncmp(name, "grad.", 5) == 0)
            continue;
        moco_tensor_init(&t);
        ok(moco_trainer_get(trainer, name, &t));
        for (int d = 0; d < t.ndim; d++)
            count *= t.shape[d];
        if (t.dtype != MOCO_I64)
            t.dtype = MOCO_F32;
        size_t bytes = (size_t)count * moco_dtype_size((moco_dtype)t.dtype);
        t.data = take(bytes);
        ok(moco_trainer_get(trainer, name, &t));
        fprintf(names, "%s %s %lld\n", name, t.dtype == MOCO_I64 ? "int64" : "float32", (long long)count);
        if (fwrite(t.data, 1, bytes, numbers) != bytes)
            exit(1);
        free(t.data);
    }
    if (fclose(names) != 0 || fclose(numbers) != 0)
        exit(1);
}

int main(int argc, char **argv)
{
    moco_context *context;
    moco_device *device;
    moco_model *model;
    moco_queue *queue;
    moco_trainer *trainer;
    moco_model_options network;
    moco_trainer_options training;
    if (argc != 2 && argc != 8)
        return 2;
    snprintf(folder, sizeof folder, "%s", argv[1]);
    moco_model_options_init(&network);
    moco_trainer_options_init(&training);
    int side = 64;
    if (argc == 8) {
        network.arch = argv[2];
        network.stem = argv[3];
        network.head = argv[4];
        network.width = atof(argv[5]);
        network.dim = atoi(argv[6]);
        side = atoi(argv[7]);
    }
    training.batch_size = training.bn_group_size = BATCH;
    training.image_h = training.image_w = side;
    training.precision = MOCO_PRECISION_F32;
    const char *name = getenv("MOCO_TEST_DEVICE");
    ok(moco_context_create(&context, NULL));
    ok(moco_device_open(&device, context, name != NULL ? name : "cpu"));
    if (name != NULL && strcmp(name, "ref") == 0)
        training.precision = MOCO_PRECISION_AUTO;
    ok(moco_model_create(&model, device, &network));
    ok(moco_queue_create(&queue, device, network.dim, 64, 0));
    ok(moco_trainer_create(&trainer, model, queue, &training));
    train(trainer, side);
    moco_export_options o;
    moco_export_options_init(&o);
    o.epoch = 7;
    ok(moco_trainer_export(trainer, in_folder("state.pth.tar"), &o));
    write_state(trainer);
    export_all(model, strcmp(network.stem, "imagenet") == 0 && network.width == 1);
    ok(moco_model_save(model, in_folder("saved.safetensors")));
    write_embeddings(model, 1, side);
    write_embeddings(model, 3, side);
    moco_trainer_free(trainer);
    moco_queue_free(queue);
    moco_model_free(model);
    moco_device_free(device);
    moco_context_free(context);
    return 0;
}
