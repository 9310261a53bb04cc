#!/bin/sh
# SPDX-License-Identifier: MIT
# The simulator of CUDA's threads (tests/support/cudasim/simt.h) finds what it promises to find: kernels with one fault each
# (simt_planted.cc), plain and under two sanitizers, in three orders of threads and blocks; and says nothing of two that
# are sound.
set -u
: "${CXX:=c++}"
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
failed=0 count=0
fail() {
    echo "$*"
    failed=1
}

compile() { # name, flags...
    name=$1
    shift
    "$CXX" -std=c++17 -O1 -g -Iinclude -Ilib -Isrc -Itests -include tests/support/cudasim/simt.h "$@" -o "$work/$name" \
        tests/ops/simt_planted.cc tests/support/cudasim/simt.cc -fno-exceptions -fno-rtti || exit 1
}
compile plain &
compile address -fsanitize=address &
compile thread -fsanitize=thread &
wait
for build in plain address thread; do
    [ -x "$work/$build" ] || { echo "no $build build"; exit 1; }
done

sound() { # build, kernel
    for seed in 1 2 3; do
        "$work/$1" "$2" $seed >"$work/said" 2>&1 || fail "$1: $2 is sound, and was not found to be: $(head -n 3 "$work/said")"
    done
    count=$((count + 1))
}
found() { # build, kernel, words
    for seed in 1 2 3; do
        "$work/$1" "$2" $seed >"$work/said" 2>&1 && fail "$1: $2 was not found with seed $seed"
        grep -q -- "$3" "$work/said" || fail "$1: $2: \"$3\" is not what was said: $(head -n 3 "$work/said")"
    done
    count=$((count + 1))
}
for build in plain address thread; do
    sound $build sound_sum
    sound $build sound_shuffle
    found $build barrier_after_exit "a thread waits at a barrier, and another has ended: block .*simt_planted.cc:"
    found $build two_barriers "different barriers"
    found $build shuffle_outside "a shuffle outside of its mask"
    found $build shuffle_alone "names a thread that is not there"
    found $build too_much_shared "more shared memory than a block has"
    found $build unset_shared "8 numbers are wrong"
done
found plain missing_barrier "numbers are wrong"
found plain write_after_read "numbers are wrong"
found address shared_overrun "AddressSanitizer: use-after-poison"
found address global_overrun "AddressSanitizer: heap-buffer-overflow"
for kernel in missing_barrier write_after_read two_blocks_one_number; do
    found thread $kernel "WARNING: ThreadSanitizer: data race"
done
echo "$count kernels"
exit $failed
