#!/bin/bash
# SPDX-License-Identifier: MIT
# How many lines of the files that are named are reached when the fuzz targets' corpora are replayed (each input also cut and
# changed). Prints every file of the library that is reached at all, then fails if one of those named has less than a share.
# `make fuzz-cover` builds the targets, instrumented, first. Needs llvm-profdata and llvm-cov.
#
#   tests/fuzz/cover.sh PROGRAMS PERCENT FILE... -- TARGET...    (PROGRAMS/TARGET)
set -u
programs=$1 percent=$2
shift 2
files=()
while [ "$1" != -- ]; do
    files+=("$1")
    shift
done
shift
objects=()
rm -f "$programs"/*.profraw
for target in "$@"; do
    printf '%s: ' "$target"
    LLVM_PROFILE_FILE=$programs/$target.profraw "$programs/$target" "tests/fuzz/corpus/$target" || exit 1
    objects+=(-object "$programs/$target")
done
llvm-profdata merge -o "$programs/all.profdata" "$programs"/*.profraw || exit 1
report() { # FILE...
    llvm-cov report -show-functions=0 -show-branch-summary=0 -show-region-summary=0 "${objects[@]:1}" \
        -instr-profile "$programs/all.profdata" "$@"
}
report
echo
failed=0
for file in "${files[@]}"; do
    report "$file" | awk -v file="$file" -v least="$percent" '
        $1 == "TOTAL" { lines = $(NF - 2); missed = $(NF - 1); if (lines ~ /%/) { lines = $(NF - 3) } }
        END { share = lines > 0 ? 100 * (lines - missed) / lines : 0
              printf "%6.2f %% of %4d lines: %s%s\n", share, lines, file, share < least ? ": LESS THAN " least " %" : ""
              exit share < least }' || failed=1
done
exit $failed
