/* SPDX-License-Identifier: MIT
 *
 * train_bits: trains every mechanism for some steps on images that a generator draws, saves each state, and prints one
 * line of a checksum of the features of its encoder. peer_bits.sh builds this file against two versions of the library
 * and compares what they leave. What a reader would get wrong: only public headers of the older version may be used
 * here, and no default may be relied on that a version may change. */
#include <moco/moco.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STEPS = 20, BATCH = 32, GROUP = 8, QUEUE = 96, DIM = 32, SIDE_MOST = 64 };

struct variant {
    const char *name, *arch, *stem, *head;
    double width;
    int size;
    int negatives, encoder_k, loss, optimizer, symmetric, interleave, recompute;
};

static const struct variant variants[] = {
    {"moco-v2", "resnet18", "small", "mlp", 0.25, 32, 0, 0, 0, 0, 0, 0, 0},
    {"moco-v1-resnet50", "resnet50", "imagenet", "linear", 0.25, 64, 0, 0, 0, 0, 0, 0, 0},
    {"symmetric-interleaved", "resnet18", "cifar", "mlp", 0.125, 32, 0, 0, 0, 0, 1, 1, 0},
    {"recompute", "resnet50", "small", "mlp", 0.25, 48, 0, 0, 0, 0, 0, 0, 1},
    {"batch-keys", "resnet18", "small", "mlp", 0.25, 32, 1, 0, 0, 0, 0, 0, 0},
    {"end-to-end", "resnet18", "small", "mlp", 0.25, 32, 1, 1, 0, 0, 0, 0, 0},
    {"simclr", "resnet18", "small", "simclr-v2", 0.25, 32, 1, 1, 1, 1, 0, 0, 0},
};
enum { VARIANTS = sizeof variants / sizeof variants[0] };

static void must(moco_status status)
{
    if (status != MOCO_OK) {
        fprintf(stderr, "train_bits: %s\n", moco_error());
        exit(1);
    }
}

/* Smooth patterns with noise: something can be learnt, so that weights move in every direction. */
static void draw(uint8_t *view, const struct variant *v, int step, int which)
{
    uint32_t noise = 12345u + 977u * (uint32_t)step + 31u * (uint32_t)which;
    for (int n = 0; n < BATCH; n++)
        for (int y = 0; y < v->size; y++)
            for (int x = 0; x < v->size; x++)
                for (int c = 0; c < 3; c++) {
                    noise = noise * 1664525u + 1013904223u;
                    int wave = (x * (n % 7 + 1) + y * (n % 5 + 1) + 3 * step + c * 40 + which * 9) * 255 / v->size;
                    *view++ = (uint8_t)((wave + (int)(noise >> 27)) & 255);
                }
}

static void print_features(moco_model *model, const struct variant *v, uint8_t *view)
{
    moco_model_info info;
    moco_model_info_init(&info);
    must(moco_model_describe(model, &info));
    moco_tensor images, out;
    moco_tensor_init(&images);
    images.dtype = MOCO_U8;
    images.ndim = 4;
    images.shape[0] = 11; /* a whole chunk and a part of one */
    images.shape[1] = images.shape[2] = v->size;
    images.shape[3] = 3;
    images.data = view;
    moco_tensor_init(&out);
    out.dtype = MOCO_F32;
    out.ndim = 2;
    out.shape[0] = 11;
    out.shape[1] = info.feature_dim;
    float *rows = calloc((size_t)(11 * out.shape[1]), sizeof *rows);
    out.data = rows;
    must(moco_model_embed(model, &images, MOCO_FEATURES, &out));
    uint64_t sum = UINT64_C(14695981039346656037);
    for (int64_t i = 0; i < 11 * out.shape[1]; i++) {
        uint32_t bits;
        memcpy(&bits, &rows[i], sizeof bits);
        sum = (sum ^ bits) * UINT64_C(1099511628211);
    }
    printf("%s features %016llx\n", v->name, (unsigned long long)sum);
    free(rows);
}

static void train(moco_device *device, const struct variant *v, int precision, const char *folder)
{
    static uint8_t views[2][BATCH * SIDE_MOST * SIDE_MOST * 3];
    moco_model_options m;
    moco_trainer_options t;
    moco_model *model;
    moco_queue *queue = NULL;
    moco_trainer *trainer;
    moco_model_options_init(&m);
    m.arch = v->arch;
    m.stem = v->stem;
    m.head = v->head;
    m.width = v->width;
    m.dim = DIM;
    m.image_size = v->size;
    m.seed = 7;
    must(moco_model_create(&model, device, &m));
    if (v->negatives == MOCO_NEGATIVES_QUEUE)
        must(moco_queue_create(&queue, device, DIM, QUEUE, 7));
    moco_trainer_options_init(&t);
    t.batch_size = BATCH;
    t.bn_group_size = v->loss == MOCO_LOSS_NTXENT ? 2 * BATCH : GROUP;
    t.groups_per_launch = v->encoder_k == MOCO_KEY_SHARED ? 0 : 2;
    t.image_h = t.image_w = v->size;
    t.temperature = 0.2;
    t.key_momentum = 0.9;
    t.sgd_momentum = 0.9;
    t.weight_decay = 1e-4;
    t.precision = precision;
    t.symmetric = v->symmetric;
    t.shuffle = 1;
    t.interleave = v->interleave;
    t.seed = 7;
    t.negatives = v->negatives;
    t.encoder_k = v->encoder_k;
    t.loss = v->loss;
    t.optimizer = v->optimizer;
    t.trust_coefficient = 0.001;
    t.recompute = v->recompute;
    must(moco_trainer_create(&trainer, model, queue, &t));
    for (int step = 0; step < STEPS; step++) {
        moco_batch batch;
        moco_batch_init(&batch);
        batch.n = BATCH;
        batch.h = batch.w = v->size;
        batch.views = 2;
        for (int i = 0; i < 2; i++) {
            draw(views[i], v, step, i);
            batch.view[i] = views[i];
        }
        batch.position = (step + 1) * BATCH;
        must(moco_trainer_step(trainer, &batch, v->optimizer == MOCO_OPTIMIZER_LARS ? 0.5 : 0.03));
    }
    char path[512];
    snprintf(path, sizeof path, "%s/%s.safetensors", folder, v->name);
    must(moco_trainer_save(trainer, path, NULL));
    moco_trainer_free(trainer);
    print_features(model, v, views[0]);
    moco_queue_free(queue);
    moco_model_free(model);
}

/* FOLDER f32|bf16 THREADS. Exit status 3: this CPU has no bf16. */
int main(int argc, char **argv)
{
    if (argc != 4)
        return 2;
    moco_context *context;
    moco_device *device;
    moco_device_info info;
    moco_context_options o;
    moco_context_options_init(&o);
    o.threads = atoi(argv[3]);
    must(moco_context_create(&context, &o));
    must(moco_device_open(&device, context, "cpu"));
    moco_device_info_init(&info);
    must(moco_device_describe(device, &info));
    int bf16 = strcmp(argv[2], "bf16") == 0;
    if (bf16 && !info.bf16_native)
        return 3;
    for (int i = 0; i < VARIANTS; i++)
        train(device, &variants[i], bf16 ? MOCO_PRECISION_BF16 : MOCO_PRECISION_F32, argv[1]);
    moco_device_free(device);
    moco_context_free(context);
    return 0;
}
