#!/bin/sh
# SPDX-License-Identifier: MIT
# test_golden must fail when a step is wrong in one of the ways in which MoCo is easily wrong: each mutant is one edit of one
# source file in a copy of the tree, built without oneDNN, and has to differ from PyTorch, not merely crash. An edit that no
# longer changes its file, or no longer compiles, fails this script: it cannot rot in silence.
tree=${BUILD:-build}/mutants
program=golden/test_golden
. "$(dirname "$0")/../support/mutants.sh"

judge() {
    MOCO_TEST_DEVICE=ref timeout 120 build/tests/golden/test_golden '*ref f64, group by group' >"$log" 2>&1 && return 0
    grep -q "differ from PyTorch's by more than their tolerance" "$log" && return 1
    return 2
}

remark() {
    echo " ($(grep -c '^\[  FAILED  \] .*,.*,' "$log" | awk '{ print $1 / 2 }') of 10 cases)"
}

build_test || { cat "$log"; exit 1; }
judge || { echo "test_golden fails without any mutation"; cat "$log"; exit 1; }

step=src/algo/trainer_step.c rows=src/algo/trainer_rows.c
sgd=src/backend/ref/ref_step.c layout=src/backend/ref/ref_layout.c
mutant "no weight decay" $sgd -e 's/ + rule->weight_decay \* p\[i\];/;/'
mutant "weight decay beside the momentum" $sgd -e 's/ + rule->weight_decay \* p\[i\];/;/' \
    -e 's/p\[i\] - rule->lr \* v\[i\]/p[i] - rule->lr * (v[i] + rule->weight_decay * p[i])/'
late='s/^    program->so_far\.finite =/    ref_follow(layout, io->k, io->p, program->now.key_momentum);\n&/'
old_keys='s/ema_slab(layout, k, q, program->now\.key_momentum, out)/ema_slab(layout, k, q, 1.0, out)/'
mutant "key update late: from weights after SGD" $sgd -e '/^    ref_follow(/d' -e "$late"
mutant "key update late: keys come from the old key weights" $layout -e "$old_keys"
mutant "key update early: one too many, at the end of the step" "$sgd $layout" -e "$old_keys" -e '/^    ref_follow(/d' -e "$late"
mutant "key update never" "$sgd $layout" -e "$old_keys" -e '/^    ref_follow(/d'
mutant "keys from weights averaged the wrong way round" $layout \
    -e 's/ema_slab(layout, k, q, program->now\.key_momentum, out)/ema_slab(layout, k, q, 1 - program->now.key_momentum, out)/'
mutant "key update the wrong way round" $sgd -e 's/io->p, program->now\.key_momentum)/io->p, 1 - program->now.key_momentum)/'
mutant "keys enqueued before the loss" $step \
    -e '/TRY(all_keys(/a for (int i = 0; t->queue != NULL \&\& i < t->directions * t->o.batch_size; i++) TRY(t->be->copy(t->dev, (char *)t->queue->rows.at + (size_t)((t->queue->next + i) % t->queue->length) * step_row(t), step_at(t, t->at.keys) + (size_t)i * step_row(t), step_row(t), err));'
mutant "key BN buffers averaged with the query's" $step \
    -e '/TRY(commit_statistics(t, t->key/i for (int64_t i = 0; i < t->graph->stat_total; i++) ((double *)t->key->numbers.stats.at)[i] = t->o.key_momentum * ((double *)t->key->numbers.stats.at)[i] + (1 - t->o.key_momentum) * ((double *)t->query->numbers.stats.at)[i];'
mutant "running variance biased" src/backend/ref/ref_ops.c -e 's/var\[i\] \/ (double)(m - 1)/var[i] \/ (double)m/'
mutant "running statistics summed over groups" $sgd -e 's/(from\[c\] \/ groups)/from[c]/'
mutant "shuffle off" $rows -e 's/if (t->o\.shuffle)/if (0)/'
mutant "keys not un-shuffled" $step \
    -e 's/t->be->scatter(t->program, rows_keys(t, direction), io\.out, samples, t->launch_n, t->dim, err)/t->be->copy(t->dev, rows_keys(t, direction) + (size_t)(launch * t->launch_n) * step_row(t), io.out, (size_t)t->launch_n * step_row(t), err)/'
mutant "one shuffle for all steps" $rows -e 's/permute_batch(t->o\.seed, (uint64_t)trainer_next_step(t),/permute_batch(t->o.seed, 0,/'
mutant "gradients of the last launch only" $step -e 's/\.accumulate = d > 0 || l > 0,/.accumulate = 0,/'
loss=src/backend/ref/ref_loss.c pairs=src/algo/trainer_batch.c
mutant "NT-Xent halved: the mean over 2 N views" $pairs -e 's/io->scale = 1\.0 \/ t->o\.batch_size/io->scale = (io->k ? 1.0 : 0.5) \/ t->o.batch_size/'
mutant "NT-Xent: a view is a negative of itself" $loss -e 's/self = ntxent ? i : -1/self = -1/'
mutant "NT-Xent without the negatives of its own view" $loss \
    -e 's/if (j != own && j != self)/if (j != own \&\& j != self \&\& (!ntxent || j \/ (count \/ 2) != i \/ (count \/ 2)))/' \
    -e 's/if (j == self)/if (j == self || (ntxent \&\& j \/ (count \/ 2) == i \/ (count \/ 2)))/'
mutant "gradient to keys dropped" $loss -e 's/ntxent ? io->d_q : io->d_k;/ntxent ? io->d_q : NULL;/'
mutant "gradient to candidates dropped" $loss -e 's/\*d_rows = ntxent ? io->d_q/*d_rows = ntxent ? NULL/'
mutant "LARS decays and scales everything" src/backend/ref/ref_layout.c -e 's/layout->plain\[i\] = .*/layout->plain[i] = 0;/'
mutant "LARS with the rate outside the buffer" $sgd -e 's/now->sgd_momentum \* v\[i\] + rate \* (g/now->sgd_momentum * v[i] + (g/' \
    -e 's/p\[i\] - v\[i\])/p[i] - rate * v[i])/'
mutant "LARS: norm of the gradient before decay" $sgd -e 's/now->loss_scale, p, decay);/now->loss_scale, p, 0);/'
mutant "pairs: the second view not shuffled back" $rows \
    -e 's/= batch + keys\[rank \* share + place\]/= batch + samples[rank * share + place]/'
mutant "keys of the batch in sample order against places" $pairs \
    -e 's/t->be->gather(t->program, step_at(t, t->at\.positives), rows_keys(t, direction), rows_of_all_queries(t, step),/t->be->copy(t->dev, step_at(t, t->at.positives), rows_keys(t, direction), (size_t)t->o.batch_size * step_row(t), err); (void)(step,/'
mutant "queue rows pushed at one place" src/algo/queue.c -e 's/queue->next = (queue->next + count) % queue->length;/queue->next = 0;/'

all_killed
