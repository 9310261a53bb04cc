/* SPDX-License-Identifier: MIT
 *
 * tool_import: what moco/import.h makes of a file, for test_import.py.
 *
 *   tool_import model FILE [KEY=VALUE...]      prefix which stem head take dim device; features=IMAGES: f32 [n,3,64,64]
 *   tool_import state FILE arch=.. queue=.. [KEY=VALUE...]   width stem head dim symmetric, device
 *   tool_import list FILE                      candidates
 *
 * It prints lines: "model ARCH STEM HEAD WIDTH DIM", "tensor NAME CRC-32" of the numbers in the type that the library
 * holds them in, "feature" and numbers, "cursor STEP EPOCH POSITION", "count KIND N", "line KIND SENTENCE",
 * "memory MODEL PEAK LARGEST": bytes of the allocator that are live afterwards and were at most, over those before; or
 * "error STATUS SENTENCE". */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <zlib.h>

#include "moco/moco.h"

enum { IMAGE = 64 };
static int count, quiet;
static char **words;

static const char *word(const char *key, const char *otherwise)
{
    size_t size = strlen(key);
    for (int i = 3; i < count; i++)
        if (strncmp(words[i], key, size) == 0 && words[i][size] == '=')
            return words[i] + size + 1;
    return otherwise;
}

static void need(moco_status status)
{
    if (status == MOCO_OK)
        return;
    fprintf(stderr, "tool_import: %s\n", moco_error());
    exit(2);
}

static void line(void *user, int32_t kind, const char *sentence)
{
    (void)user;
    if (!quiet)
        printf("line %d %s\n", (int)kind, sentence);
}

static void print_counts(const moco_import_report *r)
{
    for (int k = 0; k < MOCO_IMPORT_KINDS; k++)
        printf("count %d %lld\n", k, (long long)r->count[k]);
    printf("prefix %s\nfresh %d\n", r->prefix, (int)r->fresh_head);
}

typedef moco_status (*getter)(void *handle, const char *name, moco_tensor *tensor);

static moco_status get_model(void *handle, const char *name, moco_tensor *tensor)
{
    return moco_model_get(handle, name, tensor);
}

static moco_status get_trainer(void *handle, const char *name, moco_tensor *tensor)
{
    return moco_trainer_get(handle, name, tensor);
}

static void print_tensor(getter get, void *handle, const char *name)
{
    moco_tensor t;
    size_t numbers = 1;
    moco_tensor_init(&t);
    need(get(handle, name, &t));
    for (int d = 0; d < t.ndim; d++)
        numbers *= (size_t)t.shape[d];
    size_t bytes = numbers * moco_dtype_size((moco_dtype)t.dtype);
    t.data = calloc(1, bytes);
    need(get(handle, name, &t));
    printf("tensor %s %08lx\n", name, crc32_z(0, t.data, bytes));
    free(t.data);
}

static void print_features(moco_model *model, const char *path)
{
    moco_model_info info;
    moco_tensor images, out;
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        exit(2);
    fseek(file, 0, SEEK_END);
    size_t size = (size_t)ftell(file), n = size / (3 * IMAGE * IMAGE * sizeof(float));
    rewind(file);
    moco_tensor_init(&images);
    moco_tensor_init(&out);
    moco_model_info_init(&info);
    need(moco_model_describe(model, &info));
    images.data = calloc(1, size);
    if (fread(images.data, 1, size, file) != size)
        exit(2);
    fclose(file);
    images.dtype = MOCO_F32;
    images.ndim = 4;
    images.shape[0] = (int64_t)n;
    images.shape[1] = 3;
    images.shape[2] = images.shape[3] = IMAGE;
    out.dtype = MOCO_F64;
    out.ndim = 2;
    out.shape[0] = (int64_t)n;
    out.shape[1] = info.feature_dim;
    double *features = out.data = calloc(n * (size_t)info.feature_dim, sizeof(double));
    need(moco_model_embed(model, &images, MOCO_FEATURES, &out));
    printf("feature");
    for (size_t i = 0; i < n * (size_t)info.feature_dim; i++)
        printf(" %.9g", features[i]);
    printf("\n");
    free(features);
    free(images.data);
}

static void print_memory(moco_context *context, int64_t before)
{
    int64_t live, peak;
    need(moco_context_memory(context, &live, &peak, NULL));
    printf("memory %lld %lld\n", (long long)(live - before), (long long)(peak - before));
}

static void import_model(moco_context *context, moco_device *device, moco_weights *weights)
{
    moco_import_options o;
    moco_import_report r;
    moco_model *model;
    moco_model_info info;
    const char *which = word("which", "query"), *take = word("take", "if");
    int64_t before;
    moco_import_options_init(&o);
    moco_import_report_init(&r);
    moco_model_info_init(&info);
    r.line = line;
    o.prefix = word("prefix", NULL);
    o.stem = word("stem", NULL);
    o.head = word("head", NULL);
    o.dim = atoi(word("dim", "0"));
    o.which = strcmp(which, "key") == 0;
    o.take_head = strcmp(take, "take") == 0    ? MOCO_IMPORT_HEAD_TAKE
                  : strcmp(take, "fresh") == 0 ? MOCO_IMPORT_HEAD_FRESH
                                               : MOCO_IMPORT_HEAD_IF_THERE;
    need(moco_context_memory(context, &before, NULL, NULL));
    moco_status status = moco_model_import(&model, device, weights, &o, &r);
    print_memory(context, before);
    print_counts(&r);
    if (status != MOCO_OK) {
        printf("error %d %s\n", (int)status, moco_error());
        return;
    }
    need(moco_model_describe(model, &info));
    printf("model %s %s %s %g %d\n", info.arch, info.stem, info.head, info.width, (int)info.dim);
    for (int i = 0; moco_model_tensor_name(model, i) != NULL; i++)
        print_tensor(get_model, model, moco_model_tensor_name(model, i));
    if (word("features", NULL) != NULL)
        print_features(model, word("features", NULL));
    moco_model_free(model);
}

static void import_state(moco_context *context, moco_device *device, moco_weights *weights)
{
    moco_model_options m;
    moco_trainer_options t;
    moco_import_report r;
    moco_model *model;
    moco_queue *queue;
    moco_trainer *trainer;
    int64_t before, step, epoch, position;
    moco_model_options_init(&m);
    moco_trainer_options_init(&t);
    moco_import_report_init(&r);
    r.line = line;
    m.arch = word("arch", "resnet18");
    m.stem = word("stem", "imagenet");
    m.head = word("head", "mlp");
    m.width = atof(word("width", "1"));
    m.dim = atoi(word("dim", "128"));
    t.batch_size = t.bn_group_size = 2;
    t.image_h = t.image_w = IMAGE;
    t.symmetric = atoi(word("symmetric", "0"));
    t.precision = MOCO_PRECISION_AUTO;
    need(moco_model_create(&model, device, &m));
    need(moco_queue_create(&queue, device, m.dim, atoi(word("queue", "16")), 1));
    need(moco_trainer_create(&trainer, model, queue, &t));
    need(moco_context_memory(context, &before, NULL, NULL));
    moco_status status = moco_trainer_import(trainer, weights, &r);
    print_memory(context, before);
    print_counts(&r);
    if (status != MOCO_OK)
        printf("error %d %s\n", (int)status, moco_error());
    need(moco_trainer_cursor(trainer, &step, &epoch, &position));
    printf("cursor %lld %lld %lld\n", (long long)step, (long long)epoch, (long long)position);
    for (int i = 0; moco_trainer_tensor_name(trainer, i) != NULL; i++)
        if (strncmp(moco_trainer_tensor_name(trainer, i), "grad.", 5) != 0)
            print_tensor(get_trainer, trainer, moco_trainer_tensor_name(trainer, i));
    moco_trainer_free(trainer);
    moco_queue_free(queue);
    moco_model_free(model);
}

int main(int argc, char **argv)
{
    moco_context *context;
    moco_context_options o;
    moco_device *device;
    moco_weights *weights;
    moco_import_found found;
    count = argc;
    words = argv;
    if (argc < 3)
        return 2;
    quiet = word("quiet", NULL) != NULL;
    moco_context_options_init(&o);
    o.threads = 1;
    need(moco_context_create(&context, &o));
    need(moco_device_open(&device, context, word("device", "cpu")));
    moco_status status = moco_weights_open(&weights, context, argv[2]);
    if (status != MOCO_OK) {
        printf("error %d %s\n", (int)status, moco_error());
        return 0;
    }
    moco_import_found_init(&found);
    if (strcmp(argv[1], "model") == 0)
        import_model(context, device, weights);
    else if (strcmp(argv[1], "state") == 0)
        import_state(context, device, weights);
    else
        for (int64_t i = 0; moco_import_candidate(weights, i, &found) == MOCO_OK; i++)
            printf("candidate %d %s\n", (int)found.which, found.prefix);
    moco_weights_free(weights);
    moco_device_free(device);
    moco_context_free(context);
    return 0;
}
