/* SPDX-License-Identifier: MIT
 *
 * train_help: see train_help.h. */
#include "train_help.h"

#include "run_config.h"
#include "support/program_name.h"

static const char help_head[] =
    "Usage: train_imagenet DIR... [OPTIONS]\n"
    "\n"
    "Pre-trains an image encoder with MoCo (Momentum Contrast) on the images below DIR. The images need no labels; "
    "only\n"
    "the kNN monitor uses class folders. DIR is a folder with one of\n"
    "  train/ and val/ or test/   folders of class folders, as ImageNet is unpacked, or of tar shards\n"
    "  class folders, or images   .jpg .jpeg .jpe .jfif .png .webp; nothing is held out then\n"
    "  *.tar                      WebDataset's shards; those with val or test in their names are held out\n"
    "  data_batch_*.bin           CIFAR-10's binary files, and test_batch.bin\n"
    "or a file: a shard, or a list of images (one path a line, optionally a tab and a number, its label). val.txt or\n"
    "test.txt beside train.txt is held out. Several are read as one set; DIR:DIR means the same as DIR DIR.\n"
    "\n"
    "Option names are those of main_moco.py of facebookresearch/moco (the reference). This is its MoCo v2 command:\n"
    "  train_imagenet /data/imagenet -a resnet50 --lr 0.03 --batch-size 256 --mlp --moco-t 0.2 --aug-plus --cos\n"
    "The default preset is the same, so that this does the same:\n"
    "  train_imagenet /data/imagenet --out run1\n"
    "The paper's other rows: --preset moco-v1; with --mlp --moco-t 0.2; with --aug-plus; with --mlp --moco-t 0.2\n"
    "--aug-plus; --preset moco-v2 --epochs 800. Its baselines: --preset simclr, --preset end-to-end.\n"
    "From the weights of another program (torchvision, an official checkpoint; docs/weights.md):\n"
    "  train_imagenet /data/pictures --init moco_v2_800ep_pretrain.pth.tar --out run2\n"
    "To see what a run will take; a run of an hour or two; and to continue after anything that ended a run:\n"
    "  train_imagenet /data/imagenet --dry-run\n"
    "  train_imagenet /data/cifar10 --preset cifar10 --width 0.25 --epochs 10 --out cifar\n"
    "  train_imagenet /data/cifar10 --resume auto --out cifar\n";

static const char help_tail[] =
    "\n"
    "The run folder holds\n"
    "  metrics.jsonl                one JSON object a line: config, then step and epoch objects (epochs from 1)\n"
    "  checkpoint_NNNN.safetensors  the whole state after epoch NNNN, or within it, from 0 as in the\n"
    "                               reference (0 also before the first step). The last three are kept, and about\n"
    "                               ten of the whole run (--keep, --keep-every); never a state that diverged\n"
    "  report.html                  all of it as a page for a browser; build/examples/report draws several runs\n"
    "                               on one page\n"
    "  gallery.json                 the pictures and points of that page\n"
    "  events.out.tfevents.*        with --tensorboard\n"
    "  bad_pictures.txt             with --verify: which pictures cannot be read, and why\n"
    "  encoder.safetensors          at the end: the query encoder, for build/examples/embed and moco_model_open\n"
    "With --resume the options of the checkpoint are used: leave them out. An option with another value is an error,\n"
    "except --lr, --epochs, --schedule, --lr-schedule and --warmup-epochs: a run may continue at other rates or "
    "longer,\n"
    "and says what no longer agrees to the bit. It may also continue after some images were removed. Options about\n"
    "machine and folder (--threads, --workers, --max-bad, --out, --keep ...) are not stored: give them each time.\n"
    "\n"
    "Exit codes: 0 done. 1 failed; one sentence on standard error says what, where and what to do. 2 wrong command\n"
    "line. 75 stopped by SIGINT, SIGTERM, SIGHUP or SIGUSR1, and saved: --resume auto continues from there, to the\n"
    "same bits; or one of several ranks was lost, and all are to be started again in that way (docs/ranks.md).\n"
    "A second SIGINT or SIGTERM ends the program at once; what was saved before stays good.\n";

void train_help(FILE *to)
{
    program_help(help_head, to);
    cli_help(&run_cli, to);
    program_help(help_tail, to);
}
