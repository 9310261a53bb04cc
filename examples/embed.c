/* SPDX-License-Identifier: MIT
 *
 * embed: what an encoder is good for. Loads encoder.safetensors, encodes the images of a folder, and prints either
 * their feature vectors or, for one of them, the images most like it. */
#include <moco/moco.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/program_start.h"

#define NEAREST 5

static void check(moco_status status)
{
    if (status == MOCO_OK)
        return;
    fprintf(stderr, "embed: %s\n", moco_error());
    exit(1);
}

/* Scales each row to length 1, so that a dot product is a cosine. */
static void normalise(float *features, int64_t n, int32_t dim)
{
    for (int64_t i = 0; i < n; i++) {
        double square = 0;
        for (int32_t j = 0; j < dim; j++)
            square += (double)features[i * dim + j] * features[i * dim + j];
        for (int32_t j = 0; j < dim; j++)
            features[i * dim + j] /= (float)(sqrt(square) + 1e-12);
    }
}

/* Encodes all images, in the order of their numbers: [n, dim]. */
static float *encode(moco_model *model, const moco_model_info *info, moco_dataset *images)
{
    moco_augment_options view;
    moco_loader_options loading;
    moco_loader *loader;
    moco_batch batch;
    int64_t n = moco_dataset_count(images), done = 0;
    float *features = malloc((size_t)n * (size_t)info->feature_dim * sizeof *features);
    if (features == NULL) {
        fprintf(stderr, "embed: out of memory for the features of %lld images\n", (long long)n);
        exit(1);
    }
    check(moco_augment_options_preset(&view, "eval", info->image_size)); /* resize and centre crop: no chance in it */
    moco_loader_options_init(&loading);
    loading.batch_size = 64;
    loading.workers = 2;
    loading.permuted = loading.drop_last = 0; /* every image, in the order of their numbers */
    loading.recipe[0] = &view;
    moco_batch_init(&batch);
    check(moco_loader_create(&loader, images, &loading));
    check(moco_loader_start(loader, 0));
    for (; done < n; done += batch.n) {
        moco_tensor in, out;
        check(moco_loader_next(loader, &batch));
        moco_tensor_init(&in);
        in.dtype = MOCO_U8;
        in.ndim = 4;
        in.shape[0] = batch.n;
        in.shape[1] = batch.h;
        in.shape[2] = batch.w;
        in.shape[3] = 3;
        in.data = (void *)(uintptr_t)batch.view[0];
        moco_tensor_init(&out);
        out.dtype = MOCO_F32;
        out.ndim = 2;
        out.shape[0] = batch.n;
        out.shape[1] = info->feature_dim;
        out.data = features + done * info->feature_dim;
        check(moco_model_embed(model, &in, MOCO_FEATURES, &out));
    }
    moco_loader_free(loader);
    return features;
}

static void print_image(const moco_dataset *images, int64_t id)
{
    char path[4096];
    check(moco_dataset_path(images, id, path, sizeof path));
    printf("%s", path);
}

static void print_nearest(const moco_dataset *images, const float *features, int32_t dim, int64_t asked)
{
    int64_t n = moco_dataset_count(images), best[NEAREST];
    double cosine[NEAREST];
    int found = 0;
    for (int64_t i = 0; i < n; i++) {
        double sum = 0;
        for (int32_t j = 0; j < dim; j++)
            sum += (double)features[i * dim + j] * features[asked * dim + j];
        if (i == asked || (found == NEAREST && sum <= cosine[NEAREST - 1]))
            continue;
        int at = found < NEAREST ? found++ : NEAREST - 1;
        for (; at > 0 && cosine[at - 1] < sum; at--) {
            cosine[at] = cosine[at - 1];
            best[at] = best[at - 1];
        }
        cosine[at] = sum;
        best[at] = i;
    }
    printf("most like ");
    print_image(images, asked);
    printf("\n");
    for (int i = 0; i < found; i++) {
        printf("%.4f\t", cosine[i]);
        print_image(images, best[i]);
        printf("\n");
    }
}

int main(int argc, char **argv)
{
    program_start();
    if (argc < 3 || argc > 4) {
        fprintf(stderr, "usage: embed ENCODER DIR          a line for each image: path, then its features\n"
                        "       embed ENCODER DIR NUMBER   the images most like number NUMBER (from 0, by name)\n");
        return 2;
    }
    moco_context *context;
    moco_device *device;
    moco_model *model;
    moco_dataset *images;
    moco_model_info info;
    moco_model_info_init(&info);
    check(moco_context_create(&context, NULL));
    check(moco_device_open(&device, context, "cpu"));
    check(moco_model_open(&model, device, argv[1]));
    check(moco_model_describe(model, &info));
    check(moco_dataset_open_folder(&images, context, argv[2]));
    int64_t n = moco_dataset_count(images), asked = argc > 3 ? atoll(argv[3]) : -1;
    if (argc > 3 && (asked < 0 || asked >= n)) {
        fprintf(stderr, "embed: there is no image number %s; there are %lld, from 0\n", argv[3], (long long)n);
        return 2;
    }
    float *features = encode(model, &info, images);
    normalise(features, n, info.feature_dim);
    if (argc > 3)
        print_nearest(images, features, info.feature_dim, asked);
    for (int64_t i = 0; i < n && argc == 3 && !ferror(stdout); i++) {
        print_image(images, i);
        for (int32_t j = 0; j < info.feature_dim; j++)
            printf("\t%.6g", features[i * info.feature_dim + j]);
        printf("\n");
    }
    free(features);
    moco_dataset_free(images);
    moco_model_free(model);
    moco_device_free(device);
    moco_context_free(context);
    const char *lost = program_output_lost();
    if (lost != NULL)
        fprintf(stderr, "embed: what it prints cannot be written: %s\n", lost);
    return lost != NULL;
}
