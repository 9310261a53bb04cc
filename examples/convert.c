/* SPDX-License-Identifier: MIT
 *
 * convert: files of weights in the containers and forms of other programs. Without --encoder a container becomes
 * another one with all that is in it; with it, the encoder of a file of libmoco is written in any form of
 * moco/export.h. What a reader would get wrong: both go by the ending of OUT, and a file that is there is replaced. */
#include <moco/moco.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/program_start.h"

static const char usage[] =
    "usage: convert IN OUT                      all of IN in another container\n"
    "       convert IN OUT --encoder [OPTIONS]  its encoder for another program\n"
    "IN: safetensors, or what torch.save wrote; nothing in it is run. With --encoder: an encoder or a checkpoint of\n"
    "libmoco.\n"
    "OUT: .safetensors, .pth, .pt, .pth.tar; .pth.tar to .safetensors and back gives the same tensors, texts and\n"
    "numbers. With --encoder: .safetensors, .pth (torchvision's names), .pkl (detectron2), .onnx, FOLDER/ (timm,\n"
    "transformers).\n"
    "OPTIONS: --head        the projection head too (fc.*; ONNX: an output \"projection\")\n"
    "         --u8          ONNX takes bytes [batch,height,width,3] and normalises them itself\n"
    "         --separate-bn ONNX has nodes of batch norm, not folded into convolutions\n";

static void check(moco_status status)
{
    if (status == MOCO_OK)
        return;
    fprintf(stderr, "convert: %s\n", moco_error());
    exit(1);
}

static void copy(moco_context *context, const char *from, const char *to)
{
    moco_weights *weights;
    const char *note;
    check(moco_weights_open(&weights, context, from));
    check(moco_weights_save(weights, to));
    printf("%s: %lld tensors\n", to, (long long)moco_weights_count(weights));
    for (int64_t i = 0; (note = moco_weights_note(weights, i)) != NULL; i++)
        fprintf(stderr, "convert: %s\n", note);
    moco_weights_free(weights);
}

static void export_encoder(moco_context *context, const char *from, const char *to, const moco_export_options *options)
{
    moco_device *device;
    moco_model *model;
    moco_model_info info;
    moco_model_info_init(&info);
    if (moco_device_open(&device, context, "cpu") != MOCO_OK)
        check(moco_device_open(&device, context, "ref"));
    check(moco_model_open(&model, device, from));
    check(moco_model_export(model, to, options));
    check(moco_model_describe(model, &info));
    printf("%s: %s, %d features%s\n", to, info.arch, info.feature_dim, options->head ? ", with its head" : "");
    moco_model_free(model);
    moco_device_free(device);
}

int main(int argc, char **argv)
{
    const char *paths[2] = {NULL, NULL};
    int count = 0, encoder = 0, options = 0;
    moco_context *context;
    moco_export_options o;
    program_start();
    moco_export_options_init(&o);
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            fputs(usage, stdout);
            return program_printed("convert");
        }
        int head = strcmp(argv[i], "--head") == 0, u8 = strcmp(argv[i], "--u8") == 0,
            bn = strcmp(argv[i], "--separate-bn") == 0, is_encoder = strcmp(argv[i], "--encoder") == 0;
        o.head |= head;
        o.onnx_input |= u8;
        o.separate_bn |= bn;
        encoder |= is_encoder;
        options |= head || u8 || bn;
        if (head || u8 || bn || is_encoder)
            continue;
        if (argv[i][0] == '-' || count == 2) {
            count = 0;
            break;
        }
        paths[count++] = argv[i];
    }
    if (count != 2 || (options && !encoder)) {
        fputs(usage, stderr);
        return 2;
    }
    check(moco_context_create(&context, NULL));
    if (encoder)
        export_encoder(context, paths[0], paths[1], &o);
    else
        copy(context, paths[0], paths[1]);
    moco_context_free(context);
    return program_printed("convert");
}
