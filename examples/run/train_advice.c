/* SPDX-License-Identifier: MIT
 *
 * train_advice: see train_advice.h. */
#include "train_advice.h"

#include <stdio.h>
#include <unistd.h>

#include "disk_need.h"
#include "support/program_name.h"
#include "support/program_start.h"
#include "support/progress.h"
#include "support/rerun.h"
#include "support/unreadable.h"

static char who[100]; /* "[rank 3, node7] ", or "" */

void train_warn_as(const struct ranks *ranks)
{
    if (ranks->rank > 0)
        snprintf(who, sizeof who, "[rank %d, %.63s] ", ranks->rank, ranks->host);
}

void train_warn(const char *sentence)
{
    const char *clear = progress_on_terminal(STDERR_FILENO) ? "\r\033[K" : ""; /* a progress line may stand there */
    fprintf(stderr, "%s%strain_imagenet: warning: %s\n", clear, who, sentence);
}

/* What a person can do about a failure whose sentence comes from libmoco. Where a run goes on, most options can no
 * longer change. */
static const char *advice(const struct run *r, moco_status status)
{
    int resumed = r->resume.path[0] != 0;
    int64_t step = 0;
    if (r->trainer != NULL)
        moco_trainer_cursor(r->trainer, &step, NULL, NULL);
    switch (status) {
    case MOCO_EBADDATA:
        return "; --verify lists them all: " UNREADABLE_REMEDY;
    case MOCO_ENUMERIC:
        if (resumed && step == r->begun)
            return "; this checkpoint's first step fails, at whatever rate: go on from an earlier one, or start again "
                   "with a lower --lr, in another --out";
        return r->checkpoints > 0 || resumed
                   ? "; the checkpoints are from before: try a lower --lr, from an earlier checkpoint (--resume FILE) "
                     "in "
                     "another --out, or from the start if all of them were made at too high a rate"
                   : "; try a lower --lr in another --out";
    case MOCO_ENOMEM:
        if (resumed)
            return "; --recompute takes less memory, and gives the same numbers";
        return "; --dry-run shows what is needed: try --groups-per-launch 1 or a smaller --bn-group-size, with "
               "--encoder-k shared a smaller --batch-size";
    case MOCO_ENOTSUP:
        return r->note.config.save_index[0] != 0 ? "; name tar shards as DATA" : "; try --precision f32";
    default:
        return "";
    }
}

void train_complain(const struct run *r, moco_status status, const struct err *err)
{
    if (r->ranks.rank > 0 && r->ranks.agreed)
        return; /* rank 0 has the same to say */
    fprintf(stderr, "%s%s: %s%s\n", who, program_name("train_imagenet"), err->text, advice(r, status));
}

void train_warn_options(const struct run *r)
{
    const struct run_config *c = &r->note.config;
    char sentence[512];
    int64_t count = moco_dataset_count(r->data.train);
    if (c->queue > count / 4) {
        snprintf(sentence, sizeof sentence,
                 "the queue of --moco-k %lld keys is longer than a quarter of the %lld images: many negatives will be "
                 "other views of the query's own image; consider --moco-k %lld or less",
                 (long long)c->queue, (long long)count, (long long)(count / 4 > 0 ? count / 4 : 1));
        train_warn(sentence);
    }
    if (c->knn_every > 0 && !r->watching) {
        snprintf(sentence, sizeof sentence, "no kNN monitor: %s; training goes on without it", r->data.lack);
        train_warn(sentence);
    }
    int64_t bank = c->knn_bank > 0 && c->knn_bank < count ? c->knn_bank : count;
    if (r->watching && c->knn_k > bank) { /* here, for monitor_run would say it at every epoch */
        snprintf(sentence, sizeof sentence,
                 "the kNN monitor looks among %lld images, fewer than --knn-k %lld: all of them vote", (long long)bank,
                 (long long)c->knn_k);
        train_warn(sentence);
    }
}

void train_warn_disk(const struct run *r)
{
    struct disk_need need;
    moco_model_info info;
    char sentence[512];
    moco_model_info_init(&info);
    if (moco_model_describe(r->model, &info) != MOCO_OK)
        return;
    disk_need(&need, &r->note.config, info.parameters);
    if (disk_need_lacks(&need, &r->note.config, sentence, sizeof sentence))
        train_warn(sentence);
}

/* A checkpoint of this process holds its options; before the first one, the command line is all there is. */
void train_how_to_go_on(const struct run *r, char *command, size_t size)
{
    const struct run_config *c = &r->note.config;
    rerun_resume(&run_cli, c->data, c->out, (int)r->info.threads, c, c->given, r->checkpoints == 0, command, size);
}

/* A reader that went away (`| head`), a full disk: no reason to end a run whose numbers are in its folder. */
void train_warn_lost_output(void)
{
    const char *reason = program_output_lost();
    char sentence[200];
    if (reason == NULL)
        return;
    snprintf(sentence, sizeof sentence, "what was printed did not all arrive: %s; the run went on without", reason);
    train_warn(sentence);
}
