#!/bin/sh
# SPDX-License-Identifier: MIT
# test_nearest must fail when the copy of a bank that a device keeps is not the bank, or when neighbours are not those of the
# query: each mutant is one edit of neighbours_device.c, compiled and linked in front of the library as make does it. An edit
# that no longer changes the file, or no longer compiles, fails this script: it cannot rot in silence.
set -u
build=${BUILD:-build}
test=$build/tests/ops/cudasim/test_nearest source=src/eval/neighbours_device.c
work=$build/nearest-mutants
rm -rf "$work" && mkdir -p "$work" || exit 1
commands=$(make -n BUILD="$build" -W "$source" "$test" 2>/dev/null)
compile=$(printf '%s\n' "$commands" | grep -- " -c $source " | tail -n 1)
link=$(printf '%s\n' "$commands" | grep -- "-o $test " | tail -n 1)
if [ -z "$compile" ] || [ -z "$link" ]; then
    echo "make does not say how $source is compiled and $test linked"
    exit 1
fi
object=$build/obj/${source%.c}.o
failed=0 count=0

mutant() { # name, sed expression
    count=$((count + 1))
    sed -e "$2" "$source" >"$work/mutant.c"
    if cmp -s "$source" "$work/mutant.c"; then
        verdict="NO EDIT: the pattern is not in $source any more"
    elif ! eval "$(printf '%s\n' "$compile" | sed "s# $source# $work/mutant.c#; s#$object#$work/mutant.o#g; s#-Werror##")" >"$work/log" 2>&1 ||
        ! eval "$(printf '%s\n' "$link" | sed "s#-o $test #-o $work/mutant $work/mutant.o #")" >>"$work/log" 2>&1; then
        verdict="does not compile"
        cat "$work/log"
    elif timeout 120 "$work/mutant" >"$work/log" 2>&1; then
        verdict=SURVIVED
    elif grep -q -e '^\[  FAILED  \]' -e '^\[  ERROR   \]' -e '^cudasim: ' -e 'Caught signal' "$work/log"; then
        verdict="killed: $(sed -n 's/^\[  FAILED  \] \([a-z].*\)/\1/p' "$work/log" | sort -u | tr '\n' ' ')"
    else
        verdict="stopped without a verdict"
        tail -n 20 "$work/log"
    fi
    case $verdict in killed*) ;; *) failed=$((failed + 1)) ;; esac
    echo "$1: $verdict"
}

"$test" >"$work/log" 2>&1 || { echo "test_nearest fails without any mutation"; cat "$work/log"; exit 1; }
mutant "rows that were appended are not written" 's/while (d->there < end) {/while (d->there < end \&\& d->there == 0) {/'
mutant "the second part is written over the first" 's/        base = end;/        base = end, d->there = 0;/'
mutant "rows of the second part are counted from the bank's first" 's/(d->there - base) \* d->dim/d->there * d->dim/'
mutant "rows are not written again into a larger copy" 's/d->room = d->there = 0;/d->room = 0;/'
mutant "all rows are written for each search" 's/^    int64_t base = 0;/    int64_t base = d->there = 0;/'
mutant "a copy may take all that is free" 's/bytes <= available \/ 2/1/'
mutant "nobody says why the host is at work" 's/if (d->refused > 0 \&\& !d->warned)/if (0)/'
mutant "it is said each time" 's/\&\& !d->warned)/)/'
mutant "a larger search gets the memory of a smaller one" 's/d->work.bytes < s->bytes/d->work.bytes == 0/'
mutant "neighbours that are none are told" 's/ \&\& hits\[found\].row != BE_NO_ROW//'
mutant "blocks of queries have the numbers of the first" 's/s->answer(s->self, s->query + q,/s->answer(s->self, q,/'
mutant "a block has the queries of the first" 's/unit_rows(queries, s->query,/unit_rows(queries, 0,/'
mutant "more neighbours than rows" 's/s.k = k < s.rows ? k : (int)s.rows;/s.k = k;/'
mutant "the copy outlives the bank" 's/    d->backend->release(d->dev, &d->rows);$/    (void)0;/'
mutant "memory that is not there is a failure" 's/status != MOCO_OK \&\& status != MOCO_ENOMEM/status != MOCO_OK/'
echo "$count mutants, $failed not killed"
[ $failed -eq 0 ]
