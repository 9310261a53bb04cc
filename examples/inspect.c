/* SPDX-License-Identifier: MIT
 *
 * inspect: lists the content of a file of weights of any program: its tensors, its texts, the encoders in it by the
 * prefix of their names, and remarks. Nothing in the file is executed. With --verify every number is read too, and
 * compared with the file's checksums. */
#include <moco/moco.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/human.h"
#include "support/program_name.h"
#include "support/program_start.h"

static const char usage[] =
    "Usage: inspect FILE [OPTIONS]\n"
    "\n"
    "Lists what is in a file of weights: each tensor with its type and shape, each text, each encoder with the\n"
    "prefix of its names, and remarks; fields have tabs between them. FILE is safetensors, or what torch.save wrote\n"
    "(.pth, .pt, .pth.tar, .ckpt), of any program. Nothing in it is run.\n"
    "\n"
    "      --verify                read every number too, compare it with the file's checksums, and count those\n"
    "                              that are not finite\n"
    "  -h, --help                  print this and stop\n"
    "\n"
    "Exit codes: 0 done. 1 failed; one sentence on standard error says what and where. 2 wrong command line.\n";

static void check(moco_status status)
{
    if (status == MOCO_OK)
        return;
    fprintf(stderr, "%s: %s\n", program_name("inspect"), moco_error());
    exit(1);
}

/* Prints text of an untrusted file: it may hold tabs, line ends, or sequences that control a terminal. */
static void print_text(const char *text)
{
    size_t size = 4 * strlen(text) + 8;
    char *line = malloc(size);
    if (line != NULL)
        human_line(text, line, size);
    printf("%s", line != NULL ? line : "(out of memory for its name)");
    free(line);
}

static void print_sizes(const int64_t *sizes, int ndim)
{
    printf("[");
    for (int d = 0; d < ndim; d++)
        printf(d == 0 ? "%lld" : ",%lld", (long long)sizes[d]);
    printf("]");
}

/* C order: nothing to say of the strides. */
static int in_order(const moco_weights_info *info)
{
    int64_t step = 1;
    for (int d = info->ndim - 1; d >= 0 && info->count > 0; d--) {
        if (info->shape[d] > 1 && info->stride[d] != step)
            return 0;
        step *= info->shape[d];
    }
    return 1;
}

/* How many of the tensor's numbers are not finite. */
static int64_t read_tensor(moco_weights *weights, int64_t index, const moco_weights_info *info)
{
    int64_t odd = 0;
    moco_tensor tensor;
    moco_tensor_init(&tensor);
    tensor.dtype = MOCO_F64;
    tensor.ndim = info->ndim;
    memcpy(tensor.shape, info->shape, sizeof info->shape);
    double *numbers = malloc((size_t)info->count * sizeof *numbers + 1);
    if (numbers == NULL) {
        fprintf(stderr, "%s: out of memory for the %lld numbers of %s\n", program_name("inspect"),
                (long long)info->count, info->name);
        exit(1);
    }
    tensor.data = numbers;
    check(moco_weights_read(weights, index, &tensor));
    for (int64_t i = 0; i < info->count; i++)
        odd += !isfinite(numbers[i]);
    free(numbers);
    return odd;
}

static void print_tensors(moco_weights *weights, int verify)
{
    int64_t numbers = 0, verified = 0, count = moco_weights_count(weights);
    for (int64_t i = 0; i < count; i++) {
        moco_weights_info info;
        moco_weights_info_init(&info);
        check(moco_weights_at(weights, i, &info));
        print_text(info.name);
        printf("\t%s\t", info.dtype);
        print_sizes(info.shape, info.ndim);
        if (!in_order(&info)) {
            printf("\tstrides ");
            print_sizes(info.stride, info.ndim);
        }
        int64_t odd = verify ? read_tensor(weights, i, &info) : 0;
        if (odd > 0)
            printf("\t%lld of %lld numbers are not finite", (long long)odd, (long long)info.count);
        printf("\n");
        numbers += info.count;
        verified += info.verified;
    }
    printf("%s: %lld tensors, %lld numbers", moco_weights_format(weights), (long long)count, (long long)numbers);
    if (verify)
        printf("; all were read, and the checksums of %lld tensors are right", (long long)verified);
    printf("\n");
}

static void print_texts(const moco_weights *weights)
{
    const char *key;
    for (int64_t i = 0; (key = moco_weights_key(weights, i)) != NULL; i++) {
        char text[256];
        moco_status status = moco_weights_text(weights, key, text, sizeof text);
        printf("text\t");
        print_text(key);
        printf("\t");
        print_text(status == MOCO_OK ? text : status == MOCO_ESHAPE ? "(longer than 255 bytes)" : moco_error());
        printf("\n");
    }
}

/* What --prefix of the programs takes, and which encoder that is. */
static void print_candidates(const moco_weights *weights)
{
    static const char *const which[] = {"query encoder", "key encoder", "encoder"};
    moco_import_found found;
    moco_status status;
    moco_import_found_init(&found);
    for (int64_t i = 0; (status = moco_import_candidate(weights, i, &found)) == MOCO_OK; i++) {
        printf("%s\t", which[found.which]);
        print_text(found.prefix[0] != 0 ? found.prefix : ".");
        printf("\n");
    }
    if (status != MOCO_ENOTFOUND)
        check(status);
}

int main(int argc, char **argv)
{
    const char *path = NULL;
    int verify = 0, files = 0, help = 0, odd = 0;
    program_start();
    for (int i = 1; i < argc; i++) {
        int option = argv[i][0] == '-' && argv[i][1] != 0, is_verify = strcmp(argv[i], "--verify") == 0,
            is_help = strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0;
        verify |= is_verify;
        help |= is_help;
        odd |= option && !is_verify && !is_help;
        files += !option;
        path = option ? path : argv[i];
    }
    if (help || odd || files != 1) {
        program_help(usage, help ? stdout : stderr);
        return help ? program_printed(program_name("inspect")) : 2;
    }
    moco_context *context;
    moco_weights *weights;
    const char *note;
    check(moco_context_create(&context, NULL));
    check(moco_weights_open(&weights, context, path));
    print_tensors(weights, verify);
    print_texts(weights);
    print_candidates(weights);
    for (int64_t i = 0; (note = moco_weights_note(weights, i)) != NULL; i++) {
        printf("note\t");
        print_text(note);
        printf("\n");
    }
    moco_weights_free(weights);
    moco_context_free(context);
    return program_printed(program_name("inspect"));
}
