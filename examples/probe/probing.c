/* SPDX-License-Identifier: MIT
 *
 * probing: see probing.h. */
#include "probing.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "folder/run_dir.h"
#include "support/from_moco.h"
#include "support/human.h"
#include "support/program_name.h"
#include "support/program_start.h"
#include "support/stop_signal.h"

#define STATS_ROWS 4000 /* of the held-out features: time grows with their square */

void probing_warn(const char *sentence)
{
    fprintf(stderr, "%s: warning: %s\n", program_name("linear_probe"), sentence);
}

/* As sanity_check of main_lincls.py: what was frozen must not have moved. */
static moco_status check_frozen(struct probing *p, struct err *err)
{
    char now[FROZEN_TEXT];
    TRY(frozen_hash(p->encoder, now, err));
    if (strcmp(now, p->hash) != 0)
        return err_set(err, MOCO_ESTATE,
                       "the encoder's tensors are not what they were before the probe was trained: that is a bug");
    return MOCO_OK;
}

/* A class of which nothing could be read is one that nothing is learnt, or measured, of. */
static moco_status tell_lost_classes(const struct probing *p, const struct encoded *e, const char *what,
                                     struct err *err)
{
    char sentence[512];
    int lost = 0, first = 0;
    unsigned char *seen = calloc((size_t)p->classes, 1);
    if (seen == NULL)
        return err_set(err, MOCO_ENOMEM, "out of memory");
    for (int64_t i = 0; i < e->n; i++)
        if (e->labels[i] >= 0 && e->labels[i] < p->classes)
            seen[e->labels[i]] = 1;
    for (int32_t i = p->classes - 1; i >= 0; i--)
        if (!seen[i])
            lost++, first = i;
    free(seen);
    snprintf(sentence, sizeof sentence, "%d of %d classes have no %s image that could be read; the first is \"%.200s\"",
             lost, (int)p->classes, what, moco_dataset_class_name(p->data.train, first));
    if (lost > 0)
        probing_warn(sentence);
    return MOCO_OK;
}

void probing_warn_unreadable(const struct unreadable *u, const char *what)
{
    char text[UNREADABLE_TEXT];
    probing_warn(unreadable_text(u, what, text, sizeof text));
}

moco_status probing_encode(struct probing *p, moco_dataset *set, const char *what, struct encoded *out, struct err *err)
{
    struct encode e = {.encoder = p->features,
                       .set = set,
                       .recipe = &p->eval_view,
                       .what = MOCO_FEATURES,
                       .workers = (int)p->config.workers,
                       .max_bad = p->config.max_bad,
                       .max_pixels = p->config.max_pixels,
                       .stop = stop_signal_came};
    double begun = seconds_now();
    char name[40];
    TRY(encode_set(&e, out, err));
    double seconds = seconds_now() - begun;
    printf("encoded %s %s images in %s (%.0f img/s)\n", human_count(out->n), what, human_seconds(seconds),
           (double)out->n / (seconds > 1e-9 ? seconds : 1e-9));
    snprintf(name, sizeof name, "%s images", what);
    TRY(unreadable_check(&out->unreadable, name, err));
    if (out->unreadable.count == 0)
        return MOCO_OK;
    probing_warn_unreadable(&out->unreadable, name);
    return tell_lost_classes(p, out, what, err);
}

moco_status probing_look(struct probing *p, struct err *err)
{
    int64_t count = p->held_out.n < STATS_ROWS ? p->held_out.n : STATS_ROWS;
    size_t dim = (size_t)p->held_out.dim;
    struct encoded some = {.n = count, .dim = p->held_out.dim};
    moco_feature_stats_init(&p->stats);
    if (count < 2)
        return MOCO_OK;
    some.features = malloc(sizeof(float) * (size_t)count * dim);
    if (some.features == NULL)
        return err_set(err, MOCO_ENOMEM, "out of memory");
    for (int64_t i = 0; i < count; i++) /* from all over: neighbours are of one class */
        memcpy(some.features + (size_t)i * dim, p->held_out.features + (size_t)(i * p->held_out.n / count) * dim,
               sizeof(float) * dim);
    moco_tensor rows = encoded_rows(&some, 0, count);
    moco_status status = moco_feature_stats_compute(p->device, &rows, NULL, &p->stats, NULL);
    free(some.features);
    if (status == MOCO_EINVAL) /* more dimensions than it takes: not looked at */
        return MOCO_OK;
    TRY(from_moco(status, err));
    printf("features  effective rank %.1f of %d, spread %.3f of 1, uniformity %.2f (%s held-out images)\n",
           p->stats.effective_rank, (int)p->held_out.dim, p->stats.std_mean * sqrt(p->held_out.dim),
           p->stats.uniformity, human_count(p->stats.n));
    if (p->stats.collapsed)
        probing_warn(encode_collapsed);
    return MOCO_OK;
}

moco_status probing_report(struct probing *p, int rate, struct probe_result *r, struct err *err)
{
    moco_tensor rows = encoded_rows(&p->held_out, 0, p->held_out.n);
    moco_probe_options options;
    char path[RUN_PATH_SIZE];
    int64_t *confusion = calloc((size_t)p->classes * (size_t)p->classes, sizeof *confusion);
    if (confusion == NULL)
        return err_set(err, MOCO_ENOMEM, "out of memory");
    moco_status status;
    moco_probe_options_init(&options);
    moco_score_init(&r->score);
    r->score.rate = rate;
    TRY_GOTO(status, from_moco(moco_probe_describe(p->probe, &options, NULL), err), out);
    TRY_GOTO(status, from_moco(moco_probe_evaluate(p->probe, &rows, p->held_out.labels, &r->score, confusion), err),
             out);
    TRY_GOTO(status, check_frozen(p, err), out);
    r->config = &p->config;
    r->data = &p->data;
    r->encoder = &p->info;
    r->encoder_hash = p->hash;
    r->stats = &p->stats;
    r->lr = options.lr[rate];
    r->confusion = confusion;
    r->held_out_unreadable = p->held_out.unreadable.count;
    r->seconds = seconds_now() - p->begun;
    run_dir_path(p->config.out, "probe.json", path);
    TRY_GOTO(status, probe_result_save(r, path, err), out);
    printf("top-1 %.2f %%, top-5 %.2f %% of %s held-out images, at a learning rate of %g; the encoder is unchanged\n"
           "written to %s\n",
           100 * (double)r->score.top1 / (double)r->score.n, 100 * (double)r->score.top5 / (double)r->score.n,
           human_count(r->score.n), r->lr, path);
out:
    free(confusion);
    return status;
}
