/* SPDX-License-Identifier: MIT
 *
 * keeping: see keeping.h. */
#include "keeping.h"

#include <stdlib.h>

#include "folder/run_dir.h"

#define ON_THE_WAY 10

static int named(const struct run_config *c, const char *option)
{
    return c->given[cli_find(&run_cli, option)];
}

void keeping_settle(struct run_config *c)
{
    if (c->keep_every < 0) /* who says how many wants no more than those */
        c->keep_every = named(c, "keep") ? 0 : (c->epochs + ON_THE_WAY - 1) / ON_THE_WAY;
}

/* May number `i` of the checkpoints, newest first, be removed? */
static int spare(const struct keeping *k, const int64_t *numbers, int i)
{
    int on_the_way = k->every > 0 && (numbers[i] + 1) % k->every == 0;
    return k->newest > 0 && i >= k->newest && !on_the_way && numbers[i] >= k->from;
}

moco_status keeping_begin(struct keeping *k, const struct run_config *c, void (*warn)(const char *sentence),
                          struct err *err)
{
    *k = (struct keeping){.newest = c->keep, .every = c->keep_every};
    if (named(c, "keep") || named(c, "keep-every"))
        return MOCO_OK;
    int64_t *numbers;
    int count, spared = 0;
    TRY(run_dir_checkpoints(c->out, &numbers, &count, err));
    for (int i = 0; i < count; i++)
        spared += spare(k, numbers, i);
    if (spared > 1) { /* one is left where a run ended between saving and removing */
        char sentence[256];
        k->from = numbers[0];
        snprintf(sentence, sizeof sentence,
                 "%d checkpoints of this run would not be there under the rule of --keep %lld; they stay, and only "
                 "later ones follow it: name --keep to remove them",
                 spared, (long long)c->keep);
        warn(sentence);
    }
    free(numbers);
    return MOCO_OK;
}

moco_status keeping_prune(const struct keeping *k, const char *folder, struct err *err)
{
    int64_t *numbers;
    int count;
    if (k->newest == 0)
        return MOCO_OK;
    moco_status status = run_dir_checkpoints(folder, &numbers, &count, err);
    for (int i = 0; status == MOCO_OK && i < count; i++)
        if (spare(k, numbers, i))
            status = run_dir_remove_checkpoint(folder, numbers[i], err);
    free(numbers);
    return status;
}

int64_t keeping_count(const struct run_config *c)
{
    int64_t on_the_way = c->keep_every > 0 ? c->epochs / c->keep_every : 0, all = c->epochs;
    return c->keep == 0 || c->keep + on_the_way > all ? all : c->keep + on_the_way;
}
