#!/bin/sh
# SPDX-License-Identifier: MIT
# test_ranks must fail, on a device that records, when ranks are wrong in one of the ways in which steps in parts are easily wrong:
# where a part ends, what is given to a device that repeats it or that has failed, and whether anything is repeated.
tree=${BUILD:-build}/mutants-parts
program=train/ranks/test_ranks
. "$(dirname "$0")/../../support/mutants.sh"

judge() {
    MOCO_TEST_DEVICE=ref timeout 600 build/tests/train/ranks/test_ranks "$tests" >"$log" 2>&1 && return 0
    grep -q '^\[  FAILED  \]' "$log" && return 1
    return 2
}

remark() {
    sed -n 's/^\[  FAILED  \] \([a-z_]*\)$/\1/p' "$log" | sort -u | tr '\n' ' ' | sed 's/^/: /'
}

of() { # the tests whose names match look for it
    tests=$1
    shift
    mutant "$@"
}

tests='*that_records'
build_test || { cat "$log"; exit 1; }
judge || { echo "test_ranks fails without any mutation"; cat "$log"; exit 1; }

ranks=src/algo/trainer_ranks.c
bits='recorded_steps*'
of "$bits" "steps of ranks are not recorded" src/algo/trainer.c -e 's/\.replay = t->o\.progress == NULL}/.replay = t->o.progress == NULL \&\& t->ranks == 1}/'
of "$bits" "keys are gathered where no part ends" $ranks -e '/^static moco_status begin_keys/,/^}/s/end_part(t, mine)/(t->own_memory ? behind(t) : NULL)/'
of "$bits" "a sum begins where no part ends" $ranks -e '/^static void begin_sum/,/^}/s/end_part(t, mine)/(t->own_memory ? behind(t) : NULL)/'
of "$bits" "an exchange begins behind the part that follows" $ranks -e '/^static void \*end_part/,/^}/{s/^    next_part(t, mine);$//;s/^    void \*event = /    next_part(t, mine);\n    void *event = /}'
of "$bits" "what is looked at belongs to the part before the sums" $ranks -e '/^moco_status ranks_sum/,/^}/s/^        next_part(t, mine);$/        (void)0;/'
of "$bits" "what is repeated is given again" $ranks -e 's/mine != MOCO_OK || step->skip ?/mine != MOCO_OK ?/'
of '*that_records' "a part that cannot be begun is no failure" $ranks -e '/^static moco_status fared/,/^}/s/^    return .*/    return (void)failed, (void)err, mine;/'
of '*that_records' "a device that has failed is given the next part" $ranks -e 's/^    if (mine == MOCO_OK \&\& t->others->failed\.status == MOCO_OK)$/    if ((void)mine, t->program != NULL)/'
all_killed
