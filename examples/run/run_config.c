/* SPDX-License-Identifier: MIT
 *
 * run_config: the table of options, and the conversion from their values to libmoco's structs. Names are those of
 * the reference's main_moco.py where it has the option. */
#include "run_config.h"

#include <stdlib.h>
#include <string.h>

#include "images/augment_text.h"
#include "images/eval_view.h"
#include "support/note_text.h"
#include "support/precision.h"
#include "support/program_name.h"
#include "support/wait_policy.h"

#define AT(member) offsetof(struct run_config, member)
#define SAVED 1
#define REVISABLE 2 /* the rates, or the rounding, alone follow from it */
#define BIG 9e15

static const struct cli_option table[] = {
    {"preset", NULL, 0, CLI_NAME, AT(preset), 0, 0, "moco-v2|moco-v1|cifar10|demo|simclr|simclr-cifar10|end-to-end",
     SAVED, "NAME",
     "== What to train\n"
     "defaults of everything below: moco-v2 (the default), moco-v1 (the\n"
     "defaults of the reference's main_moco.py), cifar10 (its notebook), demo;\n"
     "the baselines simclr, simclr-cifar10, end-to-end"},
    {"arch", NULL, 'a', CLI_NAME, AT(arch), 0, 0, "resnet18|resnet34|resnet50|resnet101|resnet152", SAVED, "NAME",
     "resnet18, resnet34, resnet50, resnet101 or resnet152"},
    {"width", NULL, 0, CLI_REAL, AT(width), 0.01, 16, NULL, SAVED, "X", "multiplies the channels of every layer"},
    {"stem", NULL, 0, CLI_NAME, AT(stem), 0, 0, "imagenet|cifar|small", SAVED, "NAME",
     "imagenet (7x7 stride 2, max-pool), cifar (3x3), small (3x3 stride 2)"},
    {"head", NULL, 0, CLI_NAME, AT(head), 0, 0, "linear|mlp|simclr-v1|simclr-v2", SAVED, "NAME",
     "linear (MoCo v1), mlp (v2), simclr-v1, simclr-v2 (two, three layers and\n"
     "BN)"},
    {"zero-init", NULL, 0, CLI_FLAG, AT(zero_init), 0, 1, NULL, SAVED, NULL,
     "the last BN of each residual branch starts with weight 0 (SimCLR)"},
    {"mlp", NULL, 0, CLI_ALIAS, 0, 0, 0, "head=mlp", 0, NULL, "the same as --head mlp"},
    {"moco-dim", NULL, 0, CLI_INT, AT(dim), 1, 65536, NULL, SAVED, "C", "length of an embedding"},
    {"init", NULL, 0, CLI_PATH, AT(init), 0, 0, NULL, SAVED, "FILE",
     "start from the weights in a file of any program (safetensors, .pth,\n"
     ".pth.tar, .ckpt); the run then has its architecture and width, and its\n"
     "head if that is of the run's kind; read once, not on --resume"},
    {"prefix", NULL, 0, CLI_PATH, AT(prefix), 0, 0, NULL, SAVED, "P",
     "with --init: which encoder of the file: the start of its names, as\n"
     "inspect lists them (. for no prefix); without it the query encoder is used"},
    {"size", NULL, 0, CLI_INT, AT(size), 8, 4096, NULL, SAVED, "PIXELS", "side of a view"},
    {"recipe", NULL, 0, CLI_NAME, AT(recipe), 0, 0, "moco-v1|moco-v2|cifar10|demo|simclr|simclr-cifar10", SAVED, "NAME",
     "augmentation of the training views: moco-v1, moco-v2, cifar10, demo,\n"
     "simclr, simclr-cifar10"},
    {"augment", NULL, 0, CLI_PATH, AT(augment), 0, 0, NULL, SAVED, "TEXT",
     "changes to the recipe: name=value,name=value, of scale, ratio, jitter_p,\n"
     "brightness, contrast, saturation, hue, grey_p, grey_first, blur_p,\n"
     "blur_sigma, flip_p, interpolation, crop_attempts (moco/data.h); a range is\n"
     "scale=0.08:1; or a file with one a line; show_views draws the views"},
    {"aug-plus", NULL, 0, CLI_ALIAS, 0, 0, 0, "recipe=moco-v2", 0, NULL, "the same as --recipe moco-v2"},
    {"eval-recipe", NULL, 0, CLI_NAME, AT(eval_recipe), 0, 0, "eval|simclr-eval|none", SAVED, "NAME",
     "view of the kNN monitor, without augmentation: eval (resize to 256/224\n"
     "of the size, centre crop), simclr-eval (the middle 87.5 %, bicubic) or none\n"
     "(resize to the size, centre crop)"},

    {"negatives", NULL, 0, CLI_NAME, AT(negatives), 0, 0, "queue|batch", SAVED, "NAME",
     "== Contrast\nqueue (MoCo), or batch: the other images of the batch (no --moco-k)"},
    {"encoder-k", NULL, 0, CLI_NAME, AT(encoder_k), 0, 0, "momentum|shared", SAVED, "NAME",
     "momentum (MoCo), or shared: the query encoder encodes both views and\n"
     "learns from both, the whole batch at once (with --negatives batch)"},
    {"loss", NULL, 0, CLI_NAME, AT(loss), 0, 0, "infonce|ntxent", SAVED, "NAME",
     "infonce (MoCo, end-to-end) or ntxent (SimCLR; with --encoder-k shared)"},
    {"moco-k", NULL, 0, CLI_INT, AT(queue), 0, 1e9, NULL, SAVED, "K",
     "negative keys in the queue (0: none, with --negatives batch)"},
    {"moco-m", NULL, 0, CLI_REAL, AT(key_momentum), 0, 1, NULL, SAVED, "M", "momentum of the key encoder"},
    {"moco-t", NULL, 0, CLI_REAL, AT(temperature), 1e-4, 1e4, NULL, SAVED, "T", "softmax temperature"},
    {"bn-group-size", NULL, 0, CLI_INT, AT(group), 1, 1 << 20, NULL, SAVED, "N",
     "images whose BatchNorm statistics are computed together (a GPU's share\n"
     "of the batch in the reference); it must divide the batch, or with\n"
     "--encoder-k shared be twice the batch: both views (SimCLR's default)"},
    {"groups-per-launch", NULL, 0, CLI_INT, AT(groups_per_launch), 0, 1 << 20, NULL, REVISABLE, "N",
     "most BN groups computed at once; more take more memory; 0: automatic"},
    {"recompute", NULL, 0, CLI_FLAG, AT(recompute), 0, 1, NULL, 0, NULL,
     "compute outputs of batch norm again in the backward pass instead of\n"
     "keeping them: less memory, a slower step, the same numbers"},
    {"symmetric", NULL, 0, CLI_FLAG, AT(symmetric), 0, 1, NULL, SAVED, NULL,
     "both views are queries and keys: twice the loss, twice the work"},
    {"interleave", NULL, 0, CLI_FLAG, AT(interleave), 0, 1, NULL, SAVED, NULL,
     "BN group of image n is n mod groups (the CIFAR notebook), instead of\n"
     "contiguous groups"},
    {"shuffle", NULL, 0, CLI_FLAG, AT(shuffle), 0, 1, NULL, SAVED, NULL,
     "shuffle the keys among the BN groups (the default; --no-shuffle is for\n"
     "experiments)"},

    {"batch-size", NULL, 'b', CLI_INT, AT(batch), 1, 1 << 20, NULL, SAVED, "N", "== Optimisation\nimages per step"},
    {"epochs", NULL, 0, CLI_INT, AT(epochs), 1, 1000000, NULL, REVISABLE, "N", "passes over the data set"},
    {"lr", "learning-rate", 0, CLI_REAL, AT(lr), 0, 1e6, NULL, REVISABLE, "X", "initial learning rate"},
    {"warmup-epochs", NULL, 0, CLI_INT, AT(warmup_epochs), 0, 1000000, NULL, REVISABLE, "N",
     "epochs in which the rate rises from 0, step by step (cosine-step only)"},
    {"optimizer", NULL, 0, CLI_NAME, AT(optimizer), 0, 0, "sgd|lars", SAVED, "NAME",
     "sgd (MoCo), or lars (SimCLR): the rate is scaled per weight tensor"},
    {"trust", NULL, 0, CLI_REAL, AT(trust), 1e-9, 1e3, NULL, SAVED, "X", "trust coefficient of LARS (0.001)"},
    {"schedule", NULL, 0, CLI_LIST, AT(milestones), 0, 0, NULL, REVISABLE, "E...",
     "epochs at which the rate is multiplied by 0.1: 120 160 or 120,160"},
    {"cos", NULL, 0, CLI_ALIAS, 0, 0, 0, "lr-schedule=cosine", 0, NULL, "the same as --lr-schedule cosine"},
    {"lr-schedule", NULL, 0, CLI_NAME, AT(lr_schedule), 0, 0, "steps|cosine|cosine-from1|cosine-step", REVISABLE,
     "NAME",
     "steps, cosine (per epoch, from 0), cosine-from1 (per epoch, from 1, as\n"
     "the CIFAR notebook), cosine-step (per step)"},
    {"momentum", NULL, 0, CLI_REAL, AT(momentum), 0, 1, NULL, SAVED, "X", "momentum of SGD or LARS"},
    {"wd", "weight-decay", 0, CLI_REAL, AT(weight_decay), 0, 1e3, NULL, SAVED, "X",
     "weight decay: with SGD on every trainable tensor, with LARS on weights only"},
    {"seed", NULL, 0, CLI_INT, AT(seed), 0, BIG, NULL, SAVED, "N",
     "seed of weights, queue, order, views and shuffles; runs with the same\n"
     "seed, device and thread count are the same to the bit (default 0)"},

    {"knn-every", NULL, 0, CLI_INT, AT(knn_every), 0, 1000000, NULL, 0, "EPOCHS",
     "== Watching\nmeasure kNN accuracy on val/ or test/ before training and every so many epochs\n"
     "(default 1; 0: never)"},
    {"knn-bank", NULL, 0, CLI_INT, AT(knn_bank), 1, 1e9, NULL, 0, "N",
     "most training images among which the kNN monitor searches, drawn at\n"
     "random once (default 50000)"},
    {"knn-k", NULL, 0, CLI_INT, AT(knn_k), 1, 1000000, NULL, SAVED, "N", "neighbours that vote"},
    {"knn-t", NULL, 0, CLI_REAL, AT(knn_temperature), 1e-4, 1e4, NULL, SAVED, "T", "temperature of their votes"},
    {"knn-on", NULL, 0, CLI_NAME, AT(knn_on), 0, 0, "features|projection", SAVED, "NAME",
     "features (of the backbone) or projection (the head's output)"},
    {"print-freq", NULL, 'p', CLI_INT, AT(print_every), 1, 1000000, NULL, 0, "STEPS",
     "steps between printed lines (default 10)"},

    {"out", NULL, 0, CLI_PATH, AT(out), 0, 0, NULL, 0, "DIR", "== The run\nrun folder (default moco-run)"},
    {"resume", NULL, 0, CLI_PATH, AT(resume), 0, 0, NULL, 0, "FILE|auto",
     "continue from a checkpoint; auto: from the newest valid one in the run\n"
     "folder, or from the start if there is none"},
    {"checkpoint-minutes", NULL, 0, CLI_REAL, AT(checkpoint_minutes), 0, 1e6, NULL, 0, "N",
     "also save within an epoch, after so many minutes without a checkpoint\n"
     "(default 30; 0: never); the next save of the epoch replaces it"},
    {"keep", NULL, 0, CLI_INT, AT(keep), 0, 1000000, NULL, 0, "N",
     "how many of the newest checkpoints are kept (default 3; 0: all)"},
    {"keep-every", NULL, 0, CLI_INT, AT(keep_every), -1, 1000000, NULL, 0, "EPOCHS",
     "also keep one of every so many epochs (default -1: a tenth of the run,\n"
     "so that a run of 10 epochs keeps all; 0, none, if --keep is given)"},
    {"report", NULL, 0, CLI_FLAG, AT(report), 0, 1, NULL, 0, NULL,
     "draw report.html (the default): curves and numbers on one page, drawn\n"
     "again during the run; --no-report leaves it out"},
    {"tensorboard", NULL, 0, CLI_FLAG, AT(tensorboard), 0, 1, NULL, 0, NULL,
     "also write events.out.tfevents.*, which TensorBoard reads"},
    {"max-steps", NULL, 0, CLI_INT, AT(max_steps), 0, BIG, NULL, 0, "N",
     "stop, save and succeed after step N of the run (the schedule is not\n"
     "shortened); 0: all of it"},
    {"verify", NULL, 0, CLI_FLAG, AT(verify), 0, 1, NULL, 0, NULL,
     "read every image, also held-out ones, before the first step, and list\n"
     "all bad ones, also in bad_pictures.txt; with --dry-run nothing else"},
    {"max-bad", NULL, 0, CLI_INT, AT(max_bad), -1, BIG, NULL, 0, "N",
     "unreadable images tolerated (default -1: the larger of 10 and 0.1 %);\n"
     "2,000 are read before the first step; more bad ones end the run then or\n"
     "in its first epoch; later, only a tenth of all ends it"},
    {"max-pixels", NULL, 0, CLI_INT, AT(max_pixels), 1, BIG, NULL, 0, "N",
     "largest image that is read, in pixels (default 67108864: 64 M); one takes\n"
     "3 bytes a pixel, a progressive JPEG 6, in each worker"},
    {"dry-run", NULL, 0, CLI_FLAG, AT(dry_run), 0, 1, NULL, 0, NULL,
     "print the configuration, the memory and the expected time, and do nothing"},
    {"save-index", NULL, 0, CLI_PATH, AT(save_index), 0, 0, NULL, 0, "FILE",
     "as --dry-run, but write where the pictures of the tar shards are: FILE as\n"
     "DATA then spares each process the walk through them, and its memory"},

    {"device", NULL, 0, CLI_NAME, AT(device), 0, 0, NULL, 0, "NAME",
     "== The machine\n" DEVICE_HELP ";\nwith ranks each takes one GPU of its host"},
    {"precision", NULL, 0, CLI_NAME, AT(precision), 0, 0, PRECISION_CHOICES, REVISABLE, "NAME", PRECISION_HELP},
    {"tuning", NULL, 0, CLI_PATH, AT(tuning), 0, 0, NULL, 0, "FILE",
     "cuda: time the engines that cuDNN has for each convolution, take the\n"
     "fastest, and keep in FILE which it was; with the same FILE a resumed run\n"
     "takes the same, and repeats the bits (default: the first, none is timed)"},
    {"threads", NULL, 0, CLI_INT, AT(threads), 0, 1024, NULL, 0, "N",
     "compute threads (default 0: what the process may use)"},
    {"ranks", NULL, 0, CLI_NAME, AT(ranks), 0, 0, "auto|mpi|nccl|none", 0, "ENGINE",
     "processes that train this run together, each with its share of every\n"
     "batch: auto (default: those that mpirun or srun has started, or torchrun\n"
     "with --device cuda), mpi, nccl (each with a GPU, over NCCL alone), none;\n"
     "rank 0 alone writes to the run folder; all must see it and the images"},
    {"silence", NULL, 0, CLI_REAL, AT(silence), 0.1, 1e6, NULL, 0, "SECONDS",
     "a rank that does not answer for so long is lost, and ends the run with\n"
     "exit code 75 (default 30); one that is only slow is waited for"},
    {"wait", NULL, 0, CLI_NAME, AT(wait), 0, 0, WAIT_CHOICES, 0, "POLICY", WAIT_HELP},
    {"workers", NULL, 'j', CLI_INT, AT(workers), 0, 1024, NULL, 0, "N",
     "threads that read and augment images (default: as many as compute\n"
     "threads); results do not depend on it"},
    {"views", NULL, 0, CLI_NAME, AT(views), 0, 0, "auto|device|host", 0, "WHERE",
     "where views are made: device (a GPU, of pictures that it keeps decoded),\n"
     "host (by --workers), or auto (default): device where the pictures' sizes\n"
     "are known, as of CIFAR-10, and they fit; results do not depend on it"},
    {"help", NULL, 'h', CLI_FLAG, AT(help), 0, 1, NULL, 0, NULL, "print this and stop"},
};
const struct cli run_cli = {"train_imagenet", table, (int)(sizeof table / sizeof table[0]), cli_reference_moco};
_Static_assert(sizeof table / sizeof table[0] <= CLI_OPTIONS_MAX, "given[] has a place for each option");

static const char *const schedule_names[] = {"steps", "cosine", "cosine-from1", "cosine-step"};
static const char *const negatives_names[] = {"queue", "batch"}, *const encoder_names[] = {"momentum", "shared"};
static const char *const loss_names[] = {"infonce", "ntxent"}, *const optimizer_names[] = {"sgd", "lars"};

static moco_status from_preset(struct run_config *c, const char *name, struct err *err)
{
    moco_preset p;
    moco_model_options m;
    moco_trainer_options t;
    memset(c, 0, sizeof *c);
    if (moco_preset_get(&p, name) != MOCO_OK || moco_model_options_preset(&m, name) != MOCO_OK ||
        moco_trainer_options_preset(&t, name) != MOCO_OK)
        return err_set(err, MOCO_EINVAL, "%s", moco_error());
    snprintf(c->preset, sizeof c->preset, "%s", name);
    snprintf(c->arch, sizeof c->arch, "%s", m.arch);
    snprintf(c->stem, sizeof c->stem, "%s", m.stem);
    snprintf(c->head, sizeof c->head, "%s", m.head);
    snprintf(c->recipe, sizeof c->recipe, "%s", p.recipe);
    snprintf(c->eval_recipe, sizeof c->eval_recipe, "%s", p.eval_recipe);
    snprintf(c->lr_schedule, sizeof c->lr_schedule, "%s", schedule_names[p.schedule]);
    snprintf(c->device, sizeof c->device, "cpu");
    snprintf(c->precision, sizeof c->precision, "%s", precision_name(t.precision));
    snprintf(c->knn_on, sizeof c->knn_on, "%s", p.knn_projection ? "projection" : "features");
    snprintf(c->out, sizeof c->out, "moco-run");
    snprintf(c->ranks, sizeof c->ranks, "auto");
    snprintf(c->views, sizeof c->views, "auto");
    c->silence = 30;
    c->width = m.width;
    c->dim = m.dim;
    c->size = p.image_size;
    snprintf(c->negatives, sizeof c->negatives, "%s", negatives_names[t.negatives]);
    snprintf(c->encoder_k, sizeof c->encoder_k, "%s", encoder_names[t.encoder_k]);
    snprintf(c->loss, sizeof c->loss, "%s", loss_names[t.loss]);
    snprintf(c->optimizer, sizeof c->optimizer, "%s", optimizer_names[t.optimizer]);
    c->trust = t.trust_coefficient;
    c->zero_init = m.zero_init;
    c->warmup_epochs = p.warmup_epochs;
    c->queue = p.queue_length;
    c->key_momentum = t.key_momentum;
    c->temperature = t.temperature;
    c->batch = t.batch_size;
    c->group = t.bn_group_size;
    c->shuffle = t.shuffle;
    c->interleave = t.interleave;
    c->symmetric = t.symmetric;
    c->epochs = p.epochs;
    c->lr = p.lr;
    for (int i = 0; i < 3 && p.milestones[i] > 0; i++)
        c->milestones.at[c->milestones.count++] = p.milestones[i];
    c->momentum = t.sgd_momentum;
    c->weight_decay = t.weight_decay;
    c->knn_every = 1;
    c->report = 1;
    c->knn_bank = 50000;
    c->knn_k = p.knn_k;
    c->knn_temperature = p.knn_temperature;
    c->print_every = 10;
    c->max_bad = -1;
    c->max_pixels = 64 << 20;
    c->checkpoint_minutes = 30;
    c->keep = 3;
    c->keep_every = -1;
    c->workers = -1;
    return MOCO_OK;
}

static int shared(const struct run_config *c)
{
    return strcmp(c->encoder_k, "shared") == 0;
}

static int given(const struct run_config *c, const char *name)
{
    return c->given[cli_find(&run_cli, name)];
}

/* What follows from an option that was given, for options that were not. */
static void follow(struct run_config *c, const struct run_config *preset)
{
    if (given(c, "schedule") && !given(c, "lr-schedule"))
        snprintf(c->lr_schedule, sizeof c->lr_schedule, "steps");
    if (strcmp(c->lr_schedule, "steps") != 0)
        c->milestones.count = 0;
    if (strcmp(c->lr_schedule, "cosine-step") != 0 && !given(c, "warmup-epochs"))
        c->warmup_epochs = 0;
    if (strcmp(c->negatives, "batch") == 0 && !given(c, "moco-k"))
        c->queue = 0;
    if (shared(c) && preset->group == 2 * preset->batch && !given(c, "bn-group-size"))
        c->group = 2 * c->batch; /* the preset's one group is both views */
}

moco_status run_config_parse(struct run_config *config, int argc, char **argv, struct err *err)
{
    char preset[CLI_NAME_SIZE] = "moco-v2";
    for (int pass = 0; pass < 2; pass++) { /* the first finds out which preset the second starts from */
        TRY(from_preset(config, preset, err));
        TRY(cli_parse(&run_cli, argc, argv, config, config->given, config->data, err));
        memcpy(preset, config->preset, sizeof preset);
        if (config->help)
            return MOCO_OK;
    }
    struct run_config untouched;
    TRY(from_preset(&untouched, preset, err));
    follow(config, &untouched);
    char augment[AUGMENT_TEXT];
    TRY(augment_text_settle(config->augment, augment, err)); /* of a file what it holds now */
    memcpy(config->augment, augment, sizeof augment);
    if (config->data[0] == 0)
        return err_set(err, MOCO_EINVAL, "which images? Name a folder: %s DIR (--help explains it)",
                       program_name("train_imagenet"));
    return MOCO_OK;
}

/* Parts of a mechanism that do not go together. */
static moco_status check_mechanism(const struct run_config *c, struct err *err)
{
    int batch = strcmp(c->negatives, "batch") == 0;
    if (shared(c) && !batch)
        return err_set(err, MOCO_EINVAL,
                       "--encoder-k shared does not go with --negatives queue, whose keys must come from a momentum "
                       "encoder; add --negatives batch");
    if (strcmp(c->loss, "ntxent") == 0 && !shared(c))
        return err_set(err, MOCO_EINVAL,
                       "--loss ntxent does not go with --encoder-k momentum, since it back-propagates through both "
                       "views; add --encoder-k shared --negatives batch");
    if (shared(c) && c->symmetric)
        return err_set(err, MOCO_EINVAL,
                       "--symmetric does not go with --encoder-k shared, where gradients reach both views as it is; "
                       "leave one out");
    if (batch && c->queue > 0)
        return err_set(err, MOCO_EINVAL, "--moco-k %lld does not go with --negatives batch; leave one out",
                       (long long)c->queue);
    if (!batch && c->queue == 0)
        return err_set(err, MOCO_EINVAL, "--negatives queue wants its length: add --moco-k");
    if (c->warmup_epochs > 0 && strcmp(c->lr_schedule, "cosine-step") != 0)
        return err_set(err, MOCO_EINVAL, "--warmup-epochs goes with --lr-schedule cosine-step, not with %s",
                       c->lr_schedule);
    return MOCO_OK;
}

static moco_status check_init(const struct run_config *c, struct err *err)
{
    char text[NOTE_PATHS];
    if (c->prefix[0] != 0 && c->init[0] == 0)
        return err_set(err, MOCO_EINVAL, "--prefix goes with --init, and says which encoder of that file");
    if (!note_text_encode(c->init, text, sizeof text) || !note_text_encode(c->prefix, text, sizeof text))
        return err_set(err, MOCO_EINVAL, "--init or --prefix is too long to be recorded: at most %d bytes",
                       NOTE_PATHS - 1);
    return MOCO_OK;
}

moco_status run_config_check(const struct run_config *c, struct err *err)
{
    TRY(check_mechanism(c, err));
    TRY(check_init(c, err));
    if (c->batch % c->group != 0 && !(shared(c) && c->group == 2 * c->batch))
        return err_set(err, MOCO_EINVAL,
                       "--batch-size %lld is not a multiple of --bn-group-size %lld; change one of them",
                       (long long)c->batch, (long long)c->group);
    if (shared(c) && c->groups_per_launch != 0)
        return err_set(err, MOCO_EINVAL,
                       "--groups-per-launch does not go with --encoder-k shared: the whole batch runs at once; leave "
                       "it out");
    return MOCO_OK;
}

void run_config_settle(struct run_config *c, const moco_device_info *device)
{
    if (strcmp(c->precision, "auto") == 0)
        c->given[cli_find(&run_cli, "precision")] = 0; /* it asks for no other than a checkpoint's */
    precision_settle(c->precision, sizeof c->precision, device);
    if (c->workers < 0)
        c->workers = device->threads;
}

void run_config_model(const struct run_config *c, moco_model_options *options)
{
    moco_model_options_preset(options, c->preset); /* mean and std */
    options->arch = c->arch;
    options->stem = c->stem;
    options->head = c->head;
    options->zero_init = (int32_t)c->zero_init;
    options->width = c->width;
    options->dim = (int32_t)c->dim;
    options->image_size = (int32_t)c->size;
    options->seed = (uint64_t)c->seed;
}

void run_config_trainer(const struct run_config *c, moco_trainer_options *options)
{
    moco_trainer_options_init(options);
    options->batch_size = (int32_t)c->batch;
    options->bn_group_size = (int32_t)c->group;
    options->groups_per_launch = (int32_t)c->groups_per_launch;
    options->recompute = (int32_t)c->recompute;
    options->image_h = options->image_w = (int32_t)c->size;
    options->temperature = c->temperature;
    options->key_momentum = c->key_momentum;
    options->sgd_momentum = c->momentum;
    options->weight_decay = c->weight_decay;
    options->precision = precision_parse(c->precision);
    options->negatives = strcmp(c->negatives, "batch") == 0 ? MOCO_NEGATIVES_BATCH : MOCO_NEGATIVES_QUEUE;
    options->encoder_k = shared(c) ? MOCO_KEY_SHARED : MOCO_KEY_MOMENTUM;
    options->loss = strcmp(c->loss, "ntxent") == 0 ? MOCO_LOSS_NTXENT : MOCO_LOSS_INFONCE;
    options->optimizer = strcmp(c->optimizer, "lars") == 0 ? MOCO_OPTIMIZER_LARS : MOCO_OPTIMIZER_SGD;
    options->trust_coefficient = c->trust;
    options->symmetric = (int32_t)c->symmetric;
    options->shuffle = (int32_t)c->shuffle;
    options->interleave = (int32_t)c->interleave;
    options->seed = (uint64_t)c->seed;
}

moco_status run_config_views(const struct run_config *c, moco_augment_options *train, moco_augment_options *eval,
                             struct err *err)
{
    if (moco_augment_options_preset(train, c->recipe, (int)c->size) != MOCO_OK)
        return err_set(err, MOCO_EINVAL, "%s", moco_error());
    TRY(augment_text_apply(train, c->augment, err));
    return eval_view_named(eval, c->eval_recipe, (int)c->size, err);
}

double run_config_lr(const struct run_config *c, int64_t step, int64_t steps_per_epoch)
{
    int64_t epoch = step / steps_per_epoch;
    if (strcmp(c->lr_schedule, "cosine") == 0)
        return moco_lr_cosine(c->lr, (double)epoch, (double)c->epochs);
    if (strcmp(c->lr_schedule, "cosine-from1") == 0)
        return moco_lr_cosine(c->lr, (double)(epoch + 1), (double)c->epochs);
    if (strcmp(c->lr_schedule, "cosine-step") == 0)
        return moco_lr_warmup_cosine(c->lr, (double)step, (double)(c->warmup_epochs * steps_per_epoch),
                                     (double)(c->epochs * steps_per_epoch));
    return moco_lr_steps(c->lr, epoch, c->milestones.at, c->milestones.count, 0.1);
}

/* As it is in a note; 0: nothing is kept of an option without a value. */
static int kept_text(const struct run_config *config, int i, char value[CLI_PATH_SIZE])
{
    char plain[CLI_PATH_SIZE];
    cli_text(&run_cli, i, config, value, CLI_PATH_SIZE);
    if (table[i].kind != CLI_PATH)
        return 1;
    memcpy(plain, value, sizeof plain);
    return note_text_encode(plain, value, NOTE_PATHS) && value[0] != 0;
}

size_t run_config_json(const struct run_config *config, char *text, size_t size)
{
    size_t used = 0;
    char value[CLI_PATH_SIZE];
    for (int i = 0; i < run_cli.count; i++) {
        if (!table[i].saved || !kept_text(config, i, value))
            continue;
        int number = table[i].kind == CLI_INT || table[i].kind == CLI_REAL || table[i].kind == CLI_FLAG;
        const char *quote = number ? "" : "\""; /* names and lists hold nothing that JSON would escape */
        int length = snprintf(text + used, size - used, "%s\"%s\":%s%s%s", used > 0 ? "," : "", table[i].name, quote,
                              value, quote);
        if (length < 0 || (size_t)length >= size - used)
            return size;
        used += (size_t)length;
    }
    return used;
}

moco_status run_config_take(struct run_config *config, const char *key, const char *value, unsigned char *taken,
                            struct err *err)
{
    int index = cli_find(&run_cli, key);
    if (index < 0 || !table[index].saved)
        return err_set(err, MOCO_ENOTSUP, "it holds an option \"%.40s\" that this program does not know", key);
    struct err reason = {0};
    char path[CLI_PATH_SIZE];
    if (table[index].kind == CLI_PATH) {
        if (!note_text_decode(value, path, sizeof path))
            return err_set(err, MOCO_EFORMAT, "its \"%.40s\" is no path as such a note has it", key);
        value = path;
    }
    moco_augment_options unused = {0};
    if (cli_set(&run_cli, index, config, value, &reason) != MOCO_OK || /* of a file, not of a command line */
        (strcmp(key, "augment") == 0 && augment_text_apply(&unused, value, &reason) != MOCO_OK))
        return err_set(err, MOCO_EFORMAT, "%s", reason.text);
    taken[index] = 1;
    return MOCO_OK;
}

moco_status run_config_complete(struct run_config *config, const unsigned char *taken, struct err *err)
{
    for (int i = 0; i < run_cli.count; i++) {
        if (!table[i].saved || taken[i])
            continue;
        if (table[i].kind != CLI_PATH)
            return err_set(err, MOCO_EFORMAT, "it lacks the option \"%s\"", table[i].name);
        *((char *)config + table[i].offset) = 0; /* those are kept only if they were given */
    }
    return MOCO_OK;
}

/* The same rules as follow(), where the command line says a part of the schedule anew. */
static void follow_changes(const struct run_config *mine, struct run_config *c)
{
    if (given(mine, "schedule") && !given(mine, "lr-schedule"))
        snprintf(c->lr_schedule, sizeof c->lr_schedule, "steps");
    if (strcmp(c->lr_schedule, "steps") != 0)
        c->milestones.count = 0;
    if (strcmp(c->lr_schedule, "cosine-step") != 0 && !given(mine, "warmup-epochs"))
        c->warmup_epochs = 0;
}

static moco_status take_or_refuse(const struct run_config *mine, struct run_config *saved, int i, struct err *err)
{
    char here[CLI_PATH_SIZE], there[CLI_PATH_SIZE];
    cli_text(&run_cli, i, mine, here, sizeof here);
    cli_text(&run_cli, i, saved, there, sizeof there);
    if (strcmp(here, there) == 0)
        return MOCO_OK;
    if (table[i].saved == REVISABLE)
        return cli_set(&run_cli, i, saved, here, err);
    return err_set(err, MOCO_EINVAL,
                   "the checkpoint was made with --%s %.60s and the command line says --%s %.60s; leave the option out "
                   "to go on with the checkpoint's, or start a new run in another --out",
                   table[i].name, there[0] != 0 ? there : "(none)", table[i].name, here);
}

moco_status run_config_revise(const struct run_config *mine, struct run_config *saved, char *changes, size_t size,
                              struct err *err)
{
    struct run_config before = *saved;
    size_t used = 0;
    changes[0] = 0;
    for (int i = 0; i < run_cli.count; i++)
        if (table[i].saved && mine->given[i])
            TRY(take_or_refuse(mine, saved, i, err));
    follow_changes(mine, saved);
    for (int i = 0; i < run_cli.count && used < size; i++) {
        char now[CLI_PATH_SIZE], was[CLI_PATH_SIZE];
        if (table[i].saved != REVISABLE)
            continue;
        cli_text(&run_cli, i, saved, now, sizeof now);
        cli_text(&run_cli, i, &before, was, sizeof was);
        if (strcmp(now, was) != 0)
            used += (size_t)snprintf(changes + used, size - used, "%s%s %s (was %s)", used > 0 ? ", " : "",
                                     table[i].name, now[0] != 0 ? now : "none", was[0] != 0 ? was : "none");
    }
    return MOCO_OK;
}
