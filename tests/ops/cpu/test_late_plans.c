/* SPDX-License-Identifier: MIT
 *
 * test_late_plans: plans that the CPU device makes after a fold, for images of other sizes than the network's, over
 * weights whose form the first plan chose: the direct one, or one of Winograd's tiles. The oracle is the device "ref",
 * which opened the same file. What a reader would get wrong: two encoders of the CPU device are no oracle for each
 * other, since both would read a form as another alike. That sizes are among these which by themselves would choose
 * otherwise is asserted: the test is of those. test_late_plans_mutants.sh runs it on mutants. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef MOCO_HAVE_ONEDNN

#include "api/objects.h"
#include "backend/cpu/cpu_conv.h"
#include "moco/moco.h"
#include "support/not_tested.h"
#include "support/scratch_folder.h"
#include "tolerances.h"

enum { CONFIGURED = 32, LARGEST = 48, FEATURES = 256 };
static const int sizes[] = {32, 16, 8, 20, 12, 44, 48};
enum { SIZES = sizeof sizes / sizeof *sizes };

static void ok(moco_status status)
{
    if (status != MOCO_OK)
        fail_msg("%s", moco_error());
}

/* Outputs of a side of Winograd's tile for a layer's convolutions of `channels`, as the first plan would choose it. */
static int tile_of(const moco_device *device, int channels, int side)
{
    struct shim_conv_spec spec = {.pass = SHIM_INFER,
                                  .type = SHIM_F32,
                                  .src = cpu_block(device->dev) == 16 ? SHIM_BLOCK16 : SHIM_BLOCK8,
                                  .dst = cpu_block(device->dev) == 16 ? SHIM_BLOCK16 : SHIM_BLOCK8,
                                  .shape = {.n = 1,
                                            .ci = channels,
                                            .co = channels,
                                            .h = side,
                                            .w = side,
                                            .oh = side,
                                            .ow = side,
                                            .kernel = 3,
                                            .stride = 1,
                                            .pad = 1}};
    return cpu_conv_tile(device->dev, &spec);
}

/* Of how many sizes a layer would choose another form than at the configured one. */
static int others(const moco_device *device)
{
    int count = 0;
    for (int i = 1; i < SIZES; i++)
        for (int layer = 0; layer < 4; layer++) {
            int channels = FEATURES / 8 << layer;
            count += tile_of(device, channels, (sizes[i] + (1 << layer) - 1) >> layer) !=
                     tile_of(device, channels, CONFIGURED >> layer);
        }
    return count;
}

static moco_encoder *open_on(moco_device **device, moco_context *context, const char *name, const char *path)
{
    moco_encoder *encoder;
    moco_encoder_options options;
    moco_encoder_options_init(&options);
    options.precision = strcmp(name, "cpu") == 0 ? MOCO_PRECISION_F32 : MOCO_PRECISION_F64;
    ok(moco_device_open(device, context, name));
    ok(moco_encoder_open(&encoder, *device, path, &options));
    return encoder;
}

static void vector(moco_encoder *encoder, int side, double *row)
{
    static float pixels[3 * LARGEST * LARGEST];
    for (int i = 0; i < 3 * side * side; i++)
        pixels[i] = (float)((unsigned)(i * 7919 + side) * 2654435761u >> 24) / 128 - 1;
    moco_tensor in, out;
    moco_tensor_init(&in);
    moco_tensor_init(&out);
    in.dtype = MOCO_F32;
    in.ndim = 4;
    in.shape[0] = 1;
    in.shape[1] = 3;
    in.shape[2] = in.shape[3] = side;
    in.data = pixels;
    out.dtype = MOCO_F64;
    out.ndim = 2;
    out.shape[0] = 1;
    out.shape[1] = FEATURES;
    out.data = row;
    ok(moco_encoder_embed(encoder, &in, MOCO_FEATURES, &out));
}

static void sizes_after_the_fold(void **state)
{
    (void)state;
    struct scratch_folder folder;
    moco_context *context;
    moco_device *cpu, *ref;
    moco_model *model;
    moco_model_options options;
    double ours[FEATURES], exact[FEATURES];
    scratch_folder_make(&folder);
    const char *path = scratch_path(&folder, "encoder.safetensors");
    ok(moco_context_create(&context, NULL));
    ok(moco_device_open(&cpu, context, "cpu"));
    moco_model_options_init(&options);
    options.arch = "resnet18";
    options.stem = "cifar";
    options.width = 0.5; /* 32, 64, 128 and 256 channels */
    options.image_size = CONFIGURED;
    ok(moco_model_create(&model, cpu, &options));
    ok(moco_model_save(model, path));
    moco_model_free(model);
    int different = others(cpu);
    moco_device_free(cpu);
    if (different == 0) /* no Winograd kernel */
        not_tested_here("late plans: this CPU has one form of weights");
    moco_encoder *encoder = open_on(&cpu, context, "cpu", path), *oracle = open_on(&ref, context, "ref", path);
    for (int i = 0; i < SIZES; i++) {
        double square = 0, of = 0;
        vector(encoder, sizes[i], ours);
        vector(oracle, sizes[i], exact);
        for (int j = 0; j < FEATURES; j++) {
            square += (ours[j] - exact[j]) * (ours[j] - exact[j]);
            of += exact[j] * exact[j];
        }
        if (!(of > 0 && sqrt(square / of) <= TOL_FOLDED(BE_F32)))
            fail_msg("%d px: %.3g from ref", sizes[i], sqrt(square / of));
    }
    moco_encoder_free(encoder);
    moco_encoder_free(oracle);
    moco_device_free(cpu);
    moco_device_free(ref);
    moco_context_free(context);
    scratch_folder_remove(&folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(sizes_after_the_fold)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

int main(void)
{
    printf("not tested here: this build has no cpu device\n");
    return 0;
}

#endif
