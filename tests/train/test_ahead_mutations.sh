#!/bin/sh
# SPDX-License-Identifier: MIT
# test_ahead, test_ahead_failures or test_lost must fail when a trainer that leaves its step in flight is wrong in one of the ways
# in which that is easily wrong: what is assumed of the step, who waits for it, who is told of its failure, and what becomes
# of the one behind it.
tree=${BUILD:-build}/mutants-ahead
program=train/test_ahead_failures
. "$(dirname "$0")/../support/mutants.sh"

judge() {
    MOCO_TEST_DEVICE=ref timeout 300 "build/tests/$program" "$tests" >"$log" 2>&1 && return 0
    grep -q '^\[  FAILED  \]' "$log" && return 1
    return 2
}

remark() {
    sed -n 's/^\[  FAILED  \] \([a-z_]*\)$/\1/p' "$log" | sort -u | tr '\n' ' ' | sed 's/^/: /'
}

# Each is looked for by the tests whose names match, in one program or the other: a mutant costs a second of these, not all.
of() {
    program=train/test_ahead tests=$1
    shift
    mutant "$@"
}

fails() {
    program=train/test_ahead_failures tests=$1
    shift
    mutant "$@"
}

tests='*'
for program in train/test_ahead train/test_ahead_failures ops/cudasim/test_lost; do
    build_test || { cat "$log"; exit 1; }
    judge || { echo "$program fails without any mutation"; cat "$log"; exit 1; }
done

step=src/algo/trainer_step.c rows=src/algo/trainer_rows.c update=src/algo/trainer_update.c api=src/api/trainer_handle.c
bits='every_mechanism*'
of "$bits" "the keys of the step in flight are overwritten" $step -e 's/trainer_flies(t) \* keys_of_a_step(t)/0/'
of "$bits" "one shuffle for two steps" $rows -e 's/(uint64_t)trainer_next_step(t), direction/(uint64_t)t->step, direction/'
of "$bits" "the step in flight lands with what is known of the next" $step -e 's/^    if (trainer_flies(t)) {$/    if (trainer_flies(t) \&\& (t->queued = own, 1)) {/'
of "$bits" "a step is never left in flight" src/algo/trainer.c -e 's/t->ahead = t->o\.ahead \&\&/t->ahead = 0 \&\&/'
of '*no_effect*' "a step that is watched is left in flight" src/algo/trainer.c -e 's/ \&\& t->o\.progress == NULL//'
fails '*skipped_one*' "the step behind a skipped one is not done again" $step -e 's/\*again = AGAIN;/*again = NOT_AGAIN;/'
fails '*asked_for_again' "no room for the step behind" $update -e 's/#define LIMIT_AHEAD 0x1p-20/#define LIMIT_AHEAD 1/'
fails '*asked_for_again' "the batch that is given again meets the same limit" $step -e 's/t->wary = 1;/t->wary = 0;/'
fails '*behind_a_failure*' "the step behind a failed one is not looked at" $step -e 's/outcome\.committed) *$/0)/' -e 's/== MOCO_OK \&\& outcome\.committed)/== MOCO_OK \&\& 0)/'
fails '*by_the_next_step' "the counter is moved when the step is given, and not moved back" $step \
    -e 's/^    t->queued = own;/    t->queued = own, t->step++;/' -e 's/^    t->step++;$//'
fails '*by_the_next_step' "the outcome of the step behind is left there" $step -e 's/if (forget_follower(t, \&worse) == MOCO_OK)/if (worse.status == MOCO_OK)/'
fails '*looks_at_the_state' "a failure is told twice" $step -e 's/t->late = (struct err){\.status = MOCO_OK};//'
fails '*looks_at_the_state' "a failure that nobody could be told is forgotten" $step -e 's/^        t->late = err;/        (void)err;/'
fails '*looks_at_the_state' "a failure is swallowed by save" $api -e 's/return trainer_wait(trainer->trainer, err);/return trainer_wait(trainer->trainer, NULL), MOCO_OK;/'
fails '*is_freed' "a failure is swallowed by free" src/algo/trainer.c -e 's/if (t->late\.status != MOCO_OK)/if (0)/'
of 'whoever_looks*' "a model is saved without the step in flight" src/algo/encoder_file.c -e 's/encoder_lock_landed(/encoder_lock(/'
of 'what_is_embedded*' "an embedding without the step in flight" src/algo/embed.c -e 's/encoder_lock_landed(/encoder_lock(/'
of 'whoever_looks*' "the queue is read without the step in flight" src/algo/queue.c -e 's/^    if (queue->trained != NULL) {/    if (0) {/'
fails '*nothing_in_flight' "a call that fails leaves its step in flight" $step -e 's/moco_status status = trainer_flies(t) ? land_now/moco_status status = 0 ? land_now/'
fails '*who_waits' "a cancel takes effect twice" $step -e 's/^    if (status == MOCO_ECANCELED)$/    if (0)/'
of '*in_between' "other calls are recorded with a step in flight" $step -e 's/is_apart(step->batch) != t->apart || step->careful/step->careful/'
program=ops/cudasim/test_lost tests=
mutant "the step behind a lost one counts" $step -e 's/^    t->broken |= status != MOCO_OK;$/    outcome.committed |= status != MOCO_OK, status = MOCO_OK;/'
all_killed
