/* SPDX-License-Identifier: MIT
 *
 * probe_result: see probe_result.h. Accuracies are in percent. */
#include "probe_result.h"

#include <math.h>

#include "support/markup.h"

const char *probe_protocol(const struct probe_config *config)
{
    if (config->evaluate)
        return "evaluation of a probe trained before";
    if (config->fast)
        return "fast path: features of un-augmented images, encoded once; the learning rate with the best held-out "
               "top-1 "
               "is reported";
    return "main_lincls.py: fresh augmentation each epoch, frozen encoder in evaluation mode; the best held-out top-1 "
           "of "
           "all epochs is reported";
}

static void member(struct markup *m, const char *name, double value)
{
    markup_printf(m, ",\n \"%s\":", name);
    markup_number(m, value);
}

static void text_member(struct markup *m, const char *name, const char *value)
{
    markup_printf(m, ",\n \"%s\":", name);
    markup_json(m, value);
}

static void put_config(struct markup *m, const struct probe_config *c)
{
    member(m, "fast", (double)c->fast);
    member(m, "epochs", (double)c->epochs);
    member(m, "batch_size", (double)c->batch);
    markup_put(m, ",\n \"schedule\":[");
    for (int i = 0; i < c->milestones.count; i++)
        markup_printf(m, "%s%d", i > 0 ? "," : "", (int)c->milestones.at[i]);
    markup_put(m, "]");
    member(m, "momentum", c->momentum);
    member(m, "weight_decay", c->weight_decay);
    member(m, "seed", (double)c->seed);
    member(m, "size", (double)c->size);
    text_member(m, "eval_recipe", c->eval_recipe);
}

static void put_data(struct markup *m, const struct probe_result *r)
{
    const struct open_data *d = r->data;
    int32_t classes = moco_dataset_classes(d->train);
    text_member(m, "data", d->print);
    member(m, "train_images", (double)moco_dataset_count(d->train));
    member(m, "held_out_images", (double)moco_dataset_count(d->held_out));
    member(m, "train_unreadable", r->train_unreadable >= 0 ? (double)r->train_unreadable : NAN);
    member(m, "held_out_unreadable", (double)r->held_out_unreadable);
    member(m, "scored", (double)r->score.n);
    markup_put(m, ",\n \"classes\":[");
    for (int32_t i = 0; i < classes; i++) {
        markup_put(m, i > 0 ? "," : "");
        markup_json(m, moco_dataset_class_name(d->train, i));
    }
    markup_put(m, "]");
}

static void put_stats(struct markup *m, const moco_feature_stats *s)
{
    markup_put(m, ",\n \"features\":{\"of\":\"held-out images\",\"n\":");
    markup_number(m, (double)s->n);
    markup_put(m, ",\"std_mean\":");
    markup_number(m, s->std_mean);
    markup_put(m, ",\"std_min\":");
    markup_number(m, s->std_min);
    markup_put(m, ",\"effective_rank\":");
    markup_number(m, s->effective_rank);
    markup_put(m, ",\"uniformity\":");
    markup_number(m, s->uniformity);
    markup_printf(m, ",\"collapsed\":%s}", s->collapsed ? "true" : "false");
}

static void put_epochs(struct markup *m, const struct probe_state *s)
{
    markup_put(m, ",\n \"per_epoch\":[");
    for (int64_t i = 0; i < s->count; i++) {
        markup_printf(m, "%s\n  {\"epoch\":%lld,\"loss\":", i > 0 ? "," : "", (long long)i + 1);
        markup_number(m, s->epoch[i].loss);
        markup_put(m, ",\"train_top1\":");
        markup_number(m, s->epoch[i].train_top1);
        markup_put(m, ",\"top1\":");
        markup_number(m, s->epoch[i].top1);
        markup_put(m, ",\"top5\":");
        markup_number(m, s->epoch[i].top5);
        markup_put(m, "}");
    }
    markup_put(m, "]");
}

static void put_rates(struct markup *m, const moco_probe_options *rates, const double *top1)
{
    markup_put(m, ",\n \"per_rate\":[");
    for (int r = 0; r < rates->rates; r++) {
        markup_put(m, r > 0 ? ",{\"lr\":" : "{\"lr\":");
        markup_number(m, rates->lr[r]);
        markup_put(m, ",\"top1\":");
        markup_number(m, top1[r]);
        markup_put(m, "}");
    }
    markup_put(m, "]");
}

static void put_confusion(struct markup *m, const int64_t *confusion, int32_t classes)
{
    markup_put(m, ",\n \"confusion\":[");
    for (int32_t i = 0; i < classes; i++) {
        markup_put(m, i > 0 ? ",\n  [" : "\n  [");
        for (int32_t j = 0; j < classes; j++)
            markup_printf(m, "%s%lld", j > 0 ? "," : "", (long long)confusion[(int64_t)i * classes + j]);
        markup_put(m, "]");
    }
    markup_put(m, "]");
}

moco_status probe_result_save(const struct probe_result *r, const char *path, struct err *err)
{
    struct markup m = {0};
    double n = (double)r->score.n;
    markup_put(&m, "{\"protocol\":");
    markup_json(&m, probe_protocol(r->config));
    member(&m, "top1", 100 * (double)r->score.top1 / n);
    member(&m, "top5", 100 * (double)r->score.top5 / n);
    member(&m, "loss", r->score.loss / n);
    member(&m, "lr", r->lr);
    if (r->state != NULL)
        member(&m, "best_epoch", (double)probe_state_best(r->state) + 1);
    text_member(&m, "encoder", r->config->pretrained);
    text_member(&m, "arch", r->encoder->arch);
    member(&m, "width", r->encoder->width);
    member(&m, "feature_dim", r->encoder->feature_dim);
    text_member(&m, "encoder_xxh3", r->encoder_hash);
    markup_put(&m, ",\n \"encoder_unchanged\":true");
    put_data(&m, r);
    put_config(&m, r->config);
    member(&m, "seconds", r->seconds);
    put_stats(&m, r->stats);
    if (r->state != NULL)
        put_epochs(&m, r->state);
    if (r->rates != NULL)
        put_rates(&m, r->rates, r->rate_top1);
    put_confusion(&m, r->confusion, moco_dataset_classes(r->data->train));
    markup_put(&m, "}\n");
    moco_status status = markup_save(&m, path, err);
    markup_free(&m);
    return status;
}
