/* SPDX-License-Identifier: MIT
 *
 * convert: files of weights in the containers and forms of other programs. It writes the whole file in another
 * container, or, with --encoder or if OUT can hold nothing else, the encoder of a file in any form of moco/export.h,
 * whichever program wrote it. What a reader would get wrong: in both cases the ending of OUT decides the form, and
 * an existing file is replaced. */
#include <moco/moco.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "measure/any_encoder.h"
#include "support/program_name.h"
#include "support/program_start.h"

static const char usage[] =
    "Usage: convert IN OUT                      all of IN in another container\n"
    "       convert IN OUT --encoder [OPTIONS]  its encoder for another program\n"
    "\n"
    "IN: safetensors, or what torch.save wrote, of any program; nothing in it is executed.\n"
    "OUT: .safetensors, .pth, .pt, .pth.tar; .pth.tar to .safetensors and back gives the same tensors, texts and\n"
    "numbers. An encoder: .safetensors, .pth (torchvision's names), or, for an encoder only, .pkl (detectron2),\n"
    ".onnx, FOLDER/ (timm, transformers).\n"
    "\n"
    "      --encoder               write the encoder alone; every option below means this too\n"
    "      --prefix P              for another program's file: the start of the encoder's names (inspect lists them)\n"
    "      --stem NAME             for another program's file: cifar or small, if its first convolution is 3 x 3\n"
    "      --head                  also the projection head (fc.*; ONNX: an output \"projection\")\n"
    "      --u8                    ONNX takes bytes [batch,height,width,3] and normalises them itself\n"
    "      --separate-bn           ONNX has nodes for batch norm, instead of folding it into convolutions\n"
    "  -h, --help                  print this and stop\n"
    "\n"
    "Exit codes: 0 done. 1 failed; one sentence on standard error says what and where. 2 wrong command line.\n";

static void check(moco_status status)
{
    if (status == MOCO_OK)
        return;
    fprintf(stderr, "%s: %s\n", program_name("convert"), moco_error());
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
        fprintf(stderr, "%s: %s\n", program_name("convert"), note);
    moco_weights_free(weights);
}

/* Forms that hold one encoder and nothing else. */
static int is_for_encoder(const char *to)
{
    static const char *const endings[] = {".onnx", ".pkl", "/"};
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        size_t length = strlen(to), end = strlen(endings[i]);
        if (length >= end && strcmp(to + length - end, endings[i]) == 0)
            return 1;
    }
    return 0;
}

static void export_encoder(moco_context *context, const char *from, const char *to, const moco_import_options *import,
                           const moco_export_options *options)
{
    static struct any_encoder read;
    struct err err = {0};
    moco_device *device;
    moco_model *model;
    moco_model_info info;
    moco_model_info_init(&info);
    if (moco_device_open(&device, context, "cpu") != MOCO_OK)
        check(moco_device_open(&device, context, "ref"));
    if (any_encoder_open(&read, &model, context, device, from, import, &err) != MOCO_OK) {
        fprintf(stderr, "%s: %s\n", program_name("convert"), err.text);
        exit(1);
    }
    any_encoder_print(&read, "", 9);
    check(moco_model_export(model, to, options));
    check(moco_model_describe(model, &info));
    printf("%s: %s, %d features%s\n", to, info.arch, info.feature_dim, options->head ? ", with its head" : "");
    moco_model_free(model);
    moco_device_free(device);
}

int main(int argc, char **argv)
{
    const char *paths[2] = {NULL, NULL};
    int count = 0, encoder = 0;
    moco_context *context;
    moco_export_options o;
    moco_import_options import;
    program_start();
    moco_export_options_init(&o);
    moco_import_options_init(&import);
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            program_help(usage, stdout);
            return program_printed(program_name("convert"));
        }
        int head = strcmp(argv[i], "--head") == 0, u8 = strcmp(argv[i], "--u8") == 0,
            bn = strcmp(argv[i], "--separate-bn") == 0, is_encoder = strcmp(argv[i], "--encoder") == 0;
        const char **text = strcmp(argv[i], "--prefix") == 0 ? &import.prefix
                            : strcmp(argv[i], "--stem") == 0 ? &import.stem
                                                             : NULL;
        if (text != NULL && i + 1 < argc) {
            *text = argv[++i];
            encoder = 1;
            continue;
        }
        o.head |= head;
        o.onnx_input |= u8;
        o.separate_bn |= bn;
        encoder |= is_encoder || head || u8 || bn;
        if (head || u8 || bn || is_encoder)
            continue;
        if (argv[i][0] == '-' || count == 2) {
            count = 0;
            break;
        }
        paths[count++] = argv[i];
    }
    if (count != 2) {
        program_help(usage, stderr);
        return 2;
    }
    check(moco_context_create(&context, NULL));
    if (encoder || is_for_encoder(paths[1]))
        export_encoder(context, paths[0], paths[1], &import, &o);
    else
        copy(context, paths[0], paths[1]);
    moco_context_free(context);
    return program_printed(program_name("convert"));
}
