#!/bin/sh
# SPDX-License-Identifier: MIT
# test_pinned must fail when views in page-locked memory are handled wrongly in one of the ways in which that is easily wrong: they
# are the caller's again too early, memory is taken for page-locked that is not, or is not taken for it; and what a loader has
# borrowed is not given back where it came from. A copy that reads what was overwritten ends the simulated driver.
tree=${BUILD:-build}/mutants-pinned
program=ops/cudasim/test_pinned
. "$(dirname "$0")/../../support/mutants.sh"

judge() {
    MOCO_TEST_DEVICE=ref timeout 300 build/tests/ops/cudasim/test_pinned "$tests" >"$log" 2>&1 && return 0
    grep -q -e '^\[  FAILED  \]' -e '^cudasim: ' -e 'Caught signal' "$log" && return 1
    return 2
}

remark() {
    sed -n -e 's/^\[  FAILED  \] \([a-z_]*\)$/\1/p' -e 's/^cudasim: //p' "$log" | sort -u | tr '\n' ' ' | sed 's/^/: /'
}

of() { # tests that look for it, and the rest of mutant's arguments
    tests=$1
    shift
    mutant "$@"
}

tests='*'
build_test || { cat "$log"; exit 1; }
judge || { echo "test_pinned fails without any mutation"; cat "$log"; exit 1; }

program_c=src/backend/cuda/cuda_program.c memory=src/backend/cuda/cuda_memory.c loader=src/data/loader.c
contract='steps_are*' lookup='the_whole*'
of "$contract" "a step returns before its views were read" $program_c -e 's/^    if (p->borrows) .*$/    if (0)/'
of '*dropped*' "a step is dropped before its views were read" $program_c -e 's/^    if (p->borrows)$/    if (0)/'
of "$lookup" "views are loaded in place of others" $program_c -e 's/copy_in(p, turn->input + view_place(p, v), from/copy_in(p, turn->input + view_place(p, 0), from/'
of "$lookup" "one byte behind the end is taken" $memory -e 's/from - at <= l->bytes - bytes;/from - at <= l->bytes - bytes + 1;/'
of "$lookup" "one byte before the begin is taken" $memory -e 's/is = from >= at \&\& bytes/is = from + 1 >= at \&\& bytes/' -e 's/from - at <= l->bytes - bytes;/from + 1 - at <= l->bytes - bytes + 1;/'
of "$lookup" "only what begins a block is taken" $memory -e 's/is = from >= at \&\& bytes/is = from == at \&\& bytes/'
of "$lookup" "the last place is not taken" $memory -e 's/from - at <= l->bytes - bytes;/from - at < l->bytes - bytes;/'
of '*forgotten' "what was freed is still looked up" $memory -e 's/^            \*l = found->next;/            (void)0;/' -e 's/^    mem_free(dev->ctx, found);//'
of "$contract" "nothing is looked up" $memory -e 's/^    return is;/    return is * 0;/'
of 'every_mechanism*' "a loader asks nobody" $loader -e 's/if (memory->take == NULL || l->o\.side != NULL)/if (1)/'
of '*counted*' "what was lent is not given back" $loader -e 's/^            l->o\.memory\.give(.*$/            continue;/'
of '*counted*' "what is lent is not counted" src/backend/fallback.c -e 's/mem_count(ctx, -*(int64_t)bytes);/(void)ctx;/'
of '*ordinary*' "no memory is a failure" $loader -e 's/ \&\& status != MOCO_ENOMEM)/)/'
of '*ordinary*' "what is ordinary is given to the device" $loader -e 's/if (block->lent)/if (l->o.memory.take != NULL)/'
of '*lost*' "a lost device is as if it had no memory" $loader -e 's/if (status != MOCO_OK \&\& status != MOCO_ENOMEM)/if (0)/'
of '*counted*' "the device is closed before its loader" src/api/data.c -e 's/^        handle_ref(\&device->handle);$/        (void)0;/' -e 's/^    loader->device = device;/    loader->device = NULL;/'
all_killed
