#!/bin/sh
# Golden steps on the late device, whose third step and those after it are repeated from a recording: they are PyTorch's.
# Then two devices that are wrong in what a recording may keep, and in nothing else: each has to be found here.
set -u
: "${BUILD:=build}"
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
export MOCO_TEST_DEVICE=late
steps() {
    MOCO_LATE_FAULT=$1 "$BUILD/tests/golden/test_golden" '*, late f64, group by group' >"$work/log" 2>&1
}

steps '' || { cat "$work/log"; exit 1; }
count=$(grep -ac '^\[       OK \]' "$work/log")
[ "$count" -ge 4 ] || { echo "only $count golden steps ran on the late device"; exit 1; }
echo "$count fixtures"
failed=0
for fault in frozen old-input; do
    steps "$fault" && { echo "planted and not found: $fault"; failed=1; }
    grep -aq "tensors differ from PyTorch's" "$work/log" || { echo "$fault: found for another reason"; cat "$work/log"; failed=1; }
done
exit $failed
