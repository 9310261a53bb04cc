/* SPDX-License-Identifier: MIT
 *
 * probe_config: see probe_config.h. moco_probe_fit_options has three milestones, and the reference uses two, so that
 * the list is limited to three. */
#include "probe_config.h"

#include <string.h>

#include "images/eval_view.h"
#include "support/from_moco.h"
#include "support/precision.h"
#include "support/program_name.h"
#include "support/wait_policy.h"

#define AT(member) offsetof(struct probe_config, member)
#define BIG 9e15

enum { SAVED = 1 };

static const struct cli_option table[] = {
    {"pretrained", NULL, 0, CLI_PATH, AT(pretrained), 0, 0, NULL, 0, "FILE",
     "== The encoder\nencoder.safetensors, a checkpoint of a run (its query encoder), or the\n"
     "weights of another program (.pth, .pth.tar, .ckpt, safetensors); needed"},
    {"prefix", NULL, 0, CLI_PATH, AT(prefix), 0, 0, NULL, 0, "P",
     "for another program's file: which encoder: the start of its names, as\n"
     "inspect lists them (. for no prefix)"},
    {"stem", NULL, 0, CLI_NAME, AT(stem), 0, 0, "imagenet|cifar|small", 0, "NAME",
     "for another program's file whose first convolution is 3x3: cifar (stride\n"
     "1) or small (stride 2)"},
    {"arch", NULL, 'a', CLI_NAME, AT(arch), 0, 0, NULL, 0, "NAME", "optional: fails if the file holds another network"},
    {"size", NULL, 0, CLI_INT, AT(size), 8, 4096, NULL, SAVED, "PIXELS",
     "side of a view (default: what the encoder was trained on)"},
    {"eval-recipe", NULL, 0, CLI_NAME, AT(eval_recipe), 0, 0, "eval|simclr-eval|none", SAVED, "NAME",
     "view of the held-out images: eval (resize to 256/224 of the size, centre\n"
     "crop), none (resize to the size) or simclr-eval (default: what the encoder's\n"
     "file says; if it says nothing, eval for the imagenet stem, none for others)"},

    {"fast", NULL, 0, CLI_FLAG, AT(fast), 0, 1, NULL, SAVED, NULL,
     "== The protocol\nencode each training image once, without augmentation, and try learning\n"
     "rates from 0.003 to 100 side by side (or --lr alone): takes seconds, but is\n"
     "not the reference's protocol, and probe.json says so"},
    {"lr", "learning-rate", 0, CLI_REAL, AT(lr), 0, 1e6, NULL, SAVED, "X", "initial learning rate (default 30)"},
    {"batch-size", NULL, 'b', CLI_INT, AT(batch), 1, 1 << 20, NULL, SAVED, "N", "images per step (default 256)"},
    {"epochs", NULL, 0, CLI_INT, AT(epochs), 1, 100000, NULL, 0, "N",
     "passes over the data set (default 100); --resume may ask for more"},
    {"schedule", NULL, 0, CLI_LIST, AT(milestones), 0, 0, NULL, SAVED, "E...",
     "epochs at which the rate is multiplied by 0.1 (default 60 80)"},
    {"momentum", NULL, 0, CLI_REAL, AT(momentum), 0, 0.999999, NULL, SAVED, "X", "momentum of SGD (default 0.9)"},
    {"wd", "weight-decay", 0, CLI_REAL, AT(weight_decay), 0, 1e3, NULL, SAVED, "X", "weight decay (default 0)"},
    {"seed", NULL, 0, CLI_INT, AT(seed), 0, BIG, NULL, SAVED, "N",
     "seed of initial weights, order and views: the same on one device and thread\n"
     "count gives the same bits (default 0)"},
    {"evaluate", NULL, 'e', CLI_FLAG, AT(evaluate), 0, 1, NULL, 0, NULL,
     "train nothing: score the probe that --resume names"},

    {"out", NULL, 0, CLI_PATH, AT(out), 0, 0, NULL, 0, "DIR",
     "== The run\nfolder of probe.json and the probe's files (default moco-probe)"},
    {"resume", NULL, 0, CLI_PATH, AT(resume), 0, 0, NULL, 0, "FILE|auto",
     "continue from a state file; auto: from the one in --out, or from the\nstart if there is none"},
    {"print-freq", NULL, 'p', CLI_INT, AT(print_every), 1, 1000000, NULL, 0, "STEPS",
     "steps between printed lines (default 10)"},
    {"max-bad", NULL, 0, CLI_INT, AT(max_bad), -1, BIG, NULL, 0, "N",
     "most unreadable images of each set that are left out; more are a failure\n"
     "(default -1: the larger of 10 and 0.1 %)"},
    {"max-pixels", NULL, 0, CLI_INT, AT(max_pixels), 1, BIG, NULL, 0, "N",
     "largest image that is read, in pixels (default 67108864: 64 M); one takes\n"
     "3 bytes a pixel, a progressive JPEG 6, in each worker"},

    {"device", NULL, 0, CLI_NAME, AT(device), 0, 0, NULL, 0, "NAME", "== The machine\n" DEVICE_HELP},
    {"precision", NULL, 0, CLI_NAME, AT(precision), 0, 0, PRECISION_CHOICES, 0, "NAME",
     "of the encoder: auto (default: bf16 where the processor has it, else f32),\n"
     "f32, bf16, fp16, tf32 or f64, as the device has them"},
    {"threads", NULL, 0, CLI_INT, AT(threads), 0, 1024, NULL, 0, "N",
     "compute threads (default 0: what the process may use)"},
    {"wait", NULL, 0, CLI_NAME, AT(wait), 0, 0, WAIT_CHOICES, 0, "POLICY", WAIT_HELP},
    {"workers", NULL, 'j', CLI_INT, AT(workers), 0, 1024, NULL, 0, "N",
     "threads that read and augment images (default: as many as compute\n"
     "threads); results do not depend on it"},
    {"help", NULL, 'h', CLI_FLAG, AT(help), 0, 1, NULL, 0, NULL, "print this and stop"},
};
const struct cli probe_cli = {"linear_probe", table, (int)(sizeof table / sizeof table[0]), cli_reference_lincls};
_Static_assert(sizeof table / sizeof table[0] <= CLI_OPTIONS_MAX, "given[] has a place for each option");

moco_status probe_config_parse(struct probe_config *c, int argc, char **argv, struct err *err)
{
    *c = (struct probe_config){.epochs = 100,
                               .batch = 256,
                               .workers = -1,
                               .print_every = 10,
                               .max_bad = -1,
                               .max_pixels = 64 << 20,
                               .lr = 30,
                               .momentum = 0.9,
                               .milestones = {.at = {60, 80}, .count = 2},
                               .out = "moco-probe",
                               .device = "cpu",
                               .precision = "auto"};
    TRY(cli_parse(&probe_cli, argc, argv, c, c->given, c->data, err));
    if (c->help)
        return MOCO_OK;
    if (c->data[0] == 0)
        return err_set(err, MOCO_EINVAL, "which images? Name a folder: %s DIR (--help explains it)",
                       program_name("linear_probe"));
    if (c->pretrained[0] == 0)
        return err_set(err, MOCO_EINVAL, "which encoder? Name its file: --pretrained encoder.safetensors");
    if (c->milestones.count > 3)
        return err_set(err, MOCO_EINVAL, "--schedule has %d epochs; three are possible", c->milestones.count);
    if (c->evaluate && c->resume[0] == 0)
        return err_set(err, MOCO_EINVAL, "--evaluate needs a probe: name its file with --resume");
    if (c->fast && c->resume[0] != 0 && !c->evaluate)
        return err_set(err, MOCO_EINVAL, "--fast takes seconds and keeps no state to --resume from; leave one out");
    return MOCO_OK;
}

moco_status probe_config_settle(struct probe_config *c, const moco_model *model, moco_augment_options *eval,
                                int *guessed, struct err *err)
{
    moco_model_info info;
    int known = 0;
    moco_model_info_init(&info);
    TRY(from_moco(moco_model_describe(model, &info), err));
    if (c->arch[0] != 0 && strcmp(c->arch, info.arch) != 0)
        return err_set(err, MOCO_EINVAL, "--arch %s: %.300s holds a %s; leave --arch out, or name another file",
                       c->arch, c->pretrained, info.arch);
    if (c->eval_recipe[0] == 0)
        TRY(eval_view_of(eval, model, (int)c->size, &known, err));
    if (c->size == 0)
        c->size = known ? eval->size : info.image_size;
    *guessed = c->eval_recipe[0] == 0 && !known;
    if (*guessed)
        snprintf(c->eval_recipe, sizeof c->eval_recipe, "%s", strcmp(info.stem, "imagenet") == 0 ? "eval" : "none");
    if (!known)
        return eval_view_named(eval, c->eval_recipe, (int)c->size, err);
    eval_view_text(eval, c->eval_recipe);
    return MOCO_OK;
}

moco_status probe_config_train_view(const struct probe_config *c, moco_augment_options *train, struct err *err)
{
    TRY(from_moco(moco_augment_options_preset(train, "moco-v1", (int)c->size), err));
    train->scale[0] = 0.08; /* torchvision's default */
    train->jitter_p = train->grey_p = train->blur_p = 0;
    return MOCO_OK;
}

_Static_assert(EVAL_VIEW_TEXT <= CLI_NAME_SIZE, "eval_recipe holds the text of any view");

void probe_config_options(const struct probe_config *c, int32_t dim, int32_t classes, moco_probe_options *o)
{
    moco_probe_options_init(o);
    o->dim = dim;
    o->classes = classes;
    o->lr[0] = c->lr;
    o->momentum = c->momentum;
    o->weight_decay = c->weight_decay;
    o->seed = (uint64_t)c->seed;
    if (c->fast && !c->given[cli_find(&probe_cli, "lr")])
        o->rates = 0; /* the sweep */
}

void probe_config_text(const struct probe_config *c, char *text, size_t size)
{
    size_t used = 0;
    text[0] = 0;
    for (int i = 0; i < probe_cli.count && used < size; i++) {
        char value[CLI_PATH_SIZE];
        if (!table[i].saved)
            continue;
        cli_text(&probe_cli, i, c, value, sizeof value);
        used += (size_t)snprintf(text + used, size - used, "%s %s\n", table[i].name, value);
    }
}
