#!/bin/sh
# SPDX-License-Identifier: MIT
# test_late_plans must fail when a plan that is made after a fold picks a form of the weights by itself: each mutant is one
# edit of cpu_weights.c, compiled and linked in front of the library as make does it. An edit that no longer changes the
# file, or no longer compiles, fails this script: it cannot rot in silence.
set -u
build=${BUILD:-build}
test=$build/tests/ops/cpu/test_late_plans source=src/backend/cpu/cpu_weights.c
work=$build/late-plans
rm -rf "$work" && mkdir -p "$work" || exit 1
if ! grep -q backend_cpu "$test" 2>/dev/null; then
    echo "not tested here: this build has no cpu device"
    exit 0
fi
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
    build_and_run "$1" "$2"
    case $verdict in killed*) ;; *) failed=$((failed + 1)) ;; esac
    echo "$1: $verdict"
}

build_and_run() { # the same; sets verdict
    sed -e "$2" "$source" >"$work/cpu_weights.c"
    if cmp -s "$source" "$work/cpu_weights.c"; then
        verdict="NO EDIT: the pattern is not in $source any more"
    elif ! eval "$(printf '%s\n' "$compile" | sed "s# $source# $work/cpu_weights.c#; s#$object#$work/cpu_weights.o#g; s#-Werror##")" >"$work/log" 2>&1 ||
        ! eval "$(printf '%s\n' "$link" | sed "s#-o $test #-o $work/mutant $work/cpu_weights.o #")" >>"$work/log" 2>&1; then
        verdict="does not compile"
        cat "$work/log"
    else
        timeout 120 "$work/mutant" >"$work/log" 2>&1
        status=$?
        verdict="killed: $(grep -o '[0-9]* px: .* from ref' "$work/log" || echo "it ended with status $status")"
        [ $status -eq 0 ] && verdict=SURVIVED
    fi
}

"$test" >"$work/log" 2>&1 || { echo "test_late_plans fails without any mutation"; cat "$work/log"; exit 1; }
if grep -q "^not tested here" "$work/log"; then
    grep "^not tested here" "$work/log"
    exit 0
fi
mutant "a late plan picks its own tile" 's/int tile = \*copies == NULL ? cpu_conv_tile(w->dev, spec) : (\*copies)->wino\.tile;/int tile = cpu_conv_tile(w->dev, spec);/'
mutant "a late plan never takes Winograd's way" 's/cpu_conv_tile(w->dev, spec) : (\*copies)->wino\.tile;/cpu_conv_tile(w->dev, spec) : 0;/'
# With AVX2 alone all plans read weights in one order. A build that stops where a late copy is filled tells whether any is.
build_and_run "where a late copy is filled" 's/fill_late(w, first, copy, err) : MOCO_OK/(__builtin_trap(), MOCO_OK) : MOCO_OK/'
if [ "$verdict" = SURVIVED ]; then
    echo "not tested here: a late copy that is not filled: no plan on this CPU wants weights in another order"
else
    mutant "a late copy is not filled" 's/return w->folded && first != NULL ?/return 0 \&\& first != NULL ?/'
fi
echo "$count mutants, $failed not killed"
[ $failed -eq 0 ]
