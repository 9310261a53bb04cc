#!/bin/sh
# SPDX-License-Identifier: MIT
# Tests of steps that are repeated in parts must fail when ranks, or the device cuda, are wrong in one of the ways in which that is
# easily wrong: where a part ends, what is given to a device that repeats it or that has failed, what was recorded of a
# step that failed, and whether anything is repeated. The devices are late, and cudasim:0.
tree=${BUILD:-build}/mutants-parts
. "$(dirname "$0")/../../support/mutants.sh"

judge() {
    MOCO_TEST_DEVICE=$device timeout 300 "build/tests/$program" "$tests" >"$log" 2>&1 && return 0
    grep -q '^\[  FAILED  \]' "$log" && return 1
    return 2
}

remark() {
    sed -n 's/^\[  FAILED  \] \([a-z_]*\)$/\1/p' "$log" | sort -u | tr '\n' ' ' | sed 's/^/: /'
}

sound() { # what finds the mutants that follow: a program, on a device, its tests whose names match
    program=$1 device=$2 tests=$3
    { build_test && judge; } || { echo "$program fails without any mutation"; cat "$log"; exit 1; }
}

trainer=src/algo/trainer.c ranks=src/algo/trainer_ranks.c cuda=src/backend/cuda/cuda_program.c

sound train/ranks/test_ranks ref '*that_records'
mutant "a part that cannot be begun is no failure" $ranks -e '/^static moco_status fared/,/^}/s/^    return .*/    return (void)failed, (void)err, mine;/'
mutant "a device that has failed is given the next part" $ranks -e 's/^    if (mine == MOCO_OK \&\& t->others->failed\.status == MOCO_OK)$/    if ((void)mine, t->program != NULL)/'

sound train/ranks/test_ranks ref 'recorded_steps*'
mutant "steps of ranks are not recorded" $trainer -e 's/\.replay = t->o\.progress == NULL}/.replay = t->o.progress == NULL \&\& t->ranks == 1}/'
mutant "keys are gathered where no part ends" $ranks -e '/^moco_status ranks_greet/,/^}/s/end_part(t, mine)/(t->own_memory ? behind(t) : NULL)/'
mutant "a sum begins where no part ends" $ranks -e '/^static void begin_sum/,/^}/s/end_part(t, mine)/(t->own_memory ? behind(t) : NULL)/'
mutant "an exchange begins behind the part that follows" $ranks -e '/^static void \*end_part/,/^}/{s/^    next_part(t, mine);$//;s/^    void \*event = /    next_part(t, mine);\n    void *event = /}'
mutant "what is looked at belongs to the part before the sums" $ranks -e '/^moco_status ranks_sum/,/^}/s/^        next_part(t, mine);$/        (void)0;/'
mutant "what is repeated is given again" $ranks -e 's/mine != MOCO_OK || step->skip ?/mine != MOCO_OK ?/'

sound ops/test_backend_program cudasim:0 '*'
mutant "half a recording is taken for a whole one" $cuda -e 's/turn->recorded = p->part + 1;/turn->recorded = p->parts;/' -e 's/^    if (p->mode == CUDA_RECORD) \/\* perhaps half the work \*\/$/    if (0)/'
mutant "a part is repeated before it has begun" $cuda -e 's/return replay(p, turn->work\[0\], err);/return replay(p, turn->work[0], err) + replay(p, turn->work[1], err);/'

sound ops/cudasim/test_parts cudasim:0 'repeated*'
mutant "what needs other ranks' keys is repeated before they have come" $ranks -e '/^moco_status ranks_meet/,/^}/{s/^    moco_status status = comm_wait/    next_part(t, mine);\n    moco_status status = comm_wait/;/^    o->phase = OWING;$/{n;d}}'
mutant "both turns repeat what one recorded" $cuda -e 's/turn_of(p)->work\[p->part\]/p->turn[0].work[p->part]/'
all_killed
