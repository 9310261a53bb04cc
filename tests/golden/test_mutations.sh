#!/bin/sh
# SPDX-License-Identifier: MIT
# test_golden must fail when a step is wrong in one of the ways in which MoCo is easily wrong: each mutant is one edit of one
# source file in a copy of the tree, built without oneDNN, and has to differ from PyTorch, not merely crash. An edit that no
# longer changes its file, or no longer compiles, fails this script: it cannot rot in silence.
set -u
build=${BUILD:-build}
tree=$build/mutants
unset MAKEFLAGS MFLAGS MAKEOVERRIDES MAKELEVEL BUILD SAN
mkdir -p "$tree" && rm -rf "$tree/include" "$tree/lib" "$tree/src" "$tree/tests" &&
    cp -pR Makefile include lib src tests "$tree/" || exit 1
cd "$tree" || exit 1
# What an earlier run left mutated is built again.
rm -rf build/obj/src/algo build/obj/src/backend build/libmoco_internal.a build/tests
log=$PWD/log
failed=0 count=0

build_test() {
    make -s -j2 ONEDNN=0 WERROR=0 BUILD=build CFLAGS="-O2 -w" build/tests/golden/test_golden >"$log" 2>&1
}

golden() { # 0: passed; 1: differs from PyTorch; 2: anything else
    MOCO_TEST_DEVICE=ref timeout 120 build/tests/golden/test_golden '*ref f64, group by group' >"$log" 2>&1 && return 0
    grep -q "differ from PyTorch's by more than their tolerance" "$log" && return 1
    return 2
}

mutant() { # name, file, sed expressions
    name=$1 file=$2
    shift 2
    count=$((count + 1))
    cp "$file" original
    sed "$@" original >"$file"
    if cmp -s original "$file"; then
        verdict="NO EDIT: the pattern is not in $file any more"
    elif ! build_test; then
        verdict="does not compile"
        cat "$log"
    else
        golden
        case $? in
        0) verdict="SURVIVED" ;;
        1) verdict=killed ;;
        *) verdict="stopped without a comparison"
           tail -n 20 "$log" ;;
        esac
    fi
    [ "$verdict" = killed ] || failed=$((failed + 1))
    echo "$name: $verdict ($(grep -c '^\[  FAILED  \] .*,.*,' "$log" | awk '{ print $1 / 2 }') of 10 cases)"
    cp original "$file" # with a new date: make builds it again
}

build_test || { cat "$log"; exit 1; }
golden || { echo "test_golden fails without any mutation"; cat "$log"; exit 1; }

step=src/algo/trainer_step.c
sgd=src/backend/ref/ref_step.c
mutant "no weight decay" $sgd -e 's/io->weight_decay \* p\[i\]/0 * p[i]/'
mutant "weight decay beside the momentum" $sgd -e 's/double decayed = g\[i\] + io->weight_decay \* p\[i\];/double decayed = g[i];/' \
    -e 's/p\[i\] - io->lr \* v\[i\]/p[i] - io->lr * (v[i] + io->weight_decay * p[i])/'
# On ref a key block in f64 is a slab.
average='if (t->key != NULL) TRY(t->be->ema_readers(t->layout, t->precision, t->key->numbers.masters.at, t->query->numbers.masters.at, t->o.key_momentum, t->key->numbers.masters.at, err));'
mutant "key update late: from weights after SGD" $step -e 's/\.key = t->key != NULL ? /.key = 0 ? /' \
    -e "/moco_status status = step_update(t/a $average"
mutant "key update late: keys come from the old key weights" $step \
    -e '/ema_readers(/,/;/s/t->o\.key_momentum/1.0/'
mutant "key update early: one too many, at the end of the step" $step -e '/ema_readers(/,/;/s/t->o\.key_momentum/1.0/' \
    -e 's/\.key = t->key != NULL ? /.key = 0 ? /' -e "/moco_status status = step_update(t/a $average"
mutant "key update never" $step -e '/ema_readers(/,/;/s/t->o\.key_momentum/1.0/' \
    -e 's/\.key = t->key != NULL ? /.key = 0 ? /'
mutant "keys from weights averaged the wrong way round" $step -e 's/t->o\.key_momentum, step_at/1 - t->o.key_momentum, step_at/'
mutant "key update the wrong way round" src/algo/trainer_update.c -e 's/\.m = t->o\.key_momentum/.m = 1 - t->o.key_momentum/'
mutant "keys enqueued before the loss" $step -e '/TRY(queue_push(/d' \
    -e '/TRY(all_keys(/a if (t->queue != NULL) TRY(queue_push(t->queue, t->host.keys, (int64_t)t->directions * t->o.batch_size, err));'
mutant "key BN buffers averaged with the query's" $step \
    -e '/TRY(commit_statistics(t, t->key/i for (int64_t i = 0; i < t->graph->stat_total; i++) ((double *)t->key->numbers.stats.at)[i] = t->o.key_momentum * ((double *)t->key->numbers.stats.at)[i] + (1 - t->o.key_momentum) * ((double *)t->query->numbers.stats.at)[i];'
mutant "running variance biased" src/backend/ref/ref_ops.c -e 's/var\[i\] \/ (double)(m - 1)/var[i] \/ (double)m/'
mutant "running statistics summed over groups" $sgd -e 's/(from\[c\] \/ groups)/from[c]/'
mutant "shuffle off" $step -e 's/if (t->o\.shuffle)/if (0)/'
mutant "keys not un-shuffled" $step -e 's/memcpy(keys + (size_t)t->host\.index\[j\] \* step_row/memcpy(keys + (size_t)(first + j) * step_row/'
mutant "one shuffle for all steps" $step -e 's/permute_batch(t->o\.seed, (uint64_t)t->step,/permute_batch(t->o.seed, 0,/'
mutant "gradients of the last launch only" $step -e 's/\.accumulate = .*/.accumulate = 0,/'
loss=src/backend/ref/ref_loss.c pairs=src/algo/trainer_batch.c
mutant "NT-Xent halved: the mean over 2 N views" $pairs -e 's/io->scale = 1\.0 \/ t->o\.batch_size/io->scale = (io->k ? 1.0 : 0.5) \/ t->o.batch_size/'
mutant "NT-Xent: a view is a negative of itself" $loss -e 's/self = ntxent ? i : -1/self = -1/'
mutant "NT-Xent without the negatives of its own view" $loss \
    -e 's/if (j != own && j != self)/if (j != own \&\& j != self \&\& (!ntxent || j \/ (count \/ 2) != i \/ (count \/ 2)))/' \
    -e 's/if (j == self)/if (j == self || (ntxent \&\& j \/ (count \/ 2) == i \/ (count \/ 2)))/'
mutant "gradient to keys dropped" $loss -e 's/ntxent ? io->d_q : io->d_k;/ntxent ? io->d_q : NULL;/'
mutant "gradient to candidates dropped" $loss -e 's/\*d_rows = ntxent ? io->d_q/*d_rows = ntxent ? NULL/'
mutant "LARS decays and scales everything" src/backend/ref/ref_layout.c -e 's/layout->plain\[i\] = .*/layout->plain[i] = 0;/'
mutant "LARS with the rate outside the buffer" $sgd -e 's/io->momentum \* v\[i\] + rate \* (g/io->momentum * v[i] + (g/' \
    -e 's/p\[i\] - v\[i\])/p[i] - rate * v[i])/'
mutant "LARS: norm of the gradient before decay" $sgd -e 's/pull = norm_of_pull(count, g, p, decay)/pull = norm_of_pull(count, g, p, 0)/'
mutant "pairs: the second view not shuffled back" $pairs \
    -e 's/return (size_t)(t->host\.index\[place\] + (place < n ? 0 : n))/return (size_t)(place < n ? t->host.index[place] : n + t->host.order[place - n])/'
mutant "keys of the batch in sample order against places" $pairs -e 's/t->host\.order\[place + j\] \* row/(place + j) * row/'
mutant "queue rows pushed at one place" src/algo/queue.c -e 's/queue->next = row;/queue->next = 0;/'

echo "$count mutants, $failed not killed"
[ $failed -eq 0 ]
