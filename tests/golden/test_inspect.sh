#!/bin/sh
# SPDX-License-Identifier: MIT
# examples/inspect on files that PyTorch saved: tensors, strides, texts, notes, and that a damaged one is refused.
set -u
inspect=${BUILD:-build}/examples/inspect fixtures=tests/golden/fixtures/weights-torch-2
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
failed=0
expect() { # status, words, arguments...
    wanted=$1 words=$2
    shift 2
    "$inspect" "$@" >"$work/out" 2>&1
    status=$?
    grep -qF -- "$words" "$work/out" && [ $status -eq "$wanted" ] && return
    echo "inspect $*: status $status, and not \"$words\" in"
    cat "$work/out"
    failed=1
}
tab=$(printf '\t')
expect 0 "state_dict.module.encoder_q.conv1.weight${tab}F32${tab}[4,3,3,3]" $fixtures/moco.zip.pth
expect 0 "optimizer.state.0.momentum_buffer" $fixtures/moco.zip.pth
expect 0 "text${tab}arch${tab}resnet50" $fixtures/moco.zip.pth --verify
expect 0 "all were read, and the checksums of" $fixtures/moco.zip.pth --verify
expect 0 "and the checksums of 0 tensors are right" $fixtures/moco.legacy.pth --verify
expect 0 "strides [1,5]" $fixtures/odd.zip.pth
expect 0 "numbers are not finite" $fixtures/odd.zip.pth --verify
expect 0 "the pickle names posix.system, which was not called" $fixtures/evil.zip.pth
expect 0 "the pickle names argparse.Namespace, which was not called" $fixtures/lightning.protocol4.pth
expect 2 "Usage: inspect FILE" $fixtures/odd.zip.pth --all
expect 2 "Usage: inspect FILE"
expect 1 "it cannot be opened" "$work/none"
size=$(wc -c <$fixtures/moco.zip.pth)
head -c $((size / 2)) $fixtures/moco.zip.pth >"$work/cut.pth"
expect 1 "it is cut off" "$work/cut.pth"
exit $failed
