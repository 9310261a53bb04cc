#!/bin/sh
# examples/overnight: stopped in the middle of an epoch, by a signal, and after one, and started again with the same command,
# it ends with the bits of a run that nobody touched; a damaged state is refused, and stays.
set -u
: "${BUILD:=build}"
case $BUILD in /*) ;; *) BUILD=$PWD/$BUILD ;; esac
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
program=$BUILD/examples/overnight
failed=0
fail() {
    echo "$*"
    failed=1
}
mkdir "$work/pictures" && "$BUILD/tests/train/tool_draw" "$work/pictures" 2048 24 || exit 1
run() { # FOLDER EPOCHS
    mkdir -p "$work/$1"
    (cd "$work/$1" && exec "$program" "$work/pictures/train" demo "$2") >>"$work/$1.out" 2>&1
}
run whole 6 || { cat "$work/whole.out"; fail "a run that is left alone"; }

# A signal that comes before the program has asked for it ends it, and nothing is lost.
stops=0
mkdir "$work/stopped"
for seconds in 0.3 0.5 0.7 1 1.5 2 3 4 6 8; do
    (cd "$work/stopped" && exec "$program" "$work/pictures/train" demo 6) >>"$work/stopped.out" 2>&1 &
    pid=$!
    sleep $seconds
    kill -TERM $pid 2>/dev/null
    wait $pid 2>/dev/null
    [ -e "$work/stopped/encoder.safetensors" ] && break
done
stops=$(grep -c '^stopped before step' "$work/stopped.out")
[ "$stops" -gt 0 ] || { cat "$work/stopped.out"; fail "it was never stopped in good order"; }
[ -e "$work/stopped/encoder.safetensors" ] || run stopped 6 || { cat "$work/stopped.out"; fail "a run that goes on"; }
cmp "$work/whole/encoder.safetensors" "$work/stopped/encoder.safetensors" || { cat "$work/stopped.out"; fail "other bits, after $stops stops"; }

run later 1 || fail "one epoch"
rm -f "$work/later/encoder.safetensors"
dd if=/dev/zero of="$work/later/state.safetensors" bs=1 seek=5000 count=8 conv=notrunc 2>/dev/null
cp "$work/later/state.safetensors" "$work/damaged"
run later 2 && fail "a damaged state is taken"
grep -q "^overnight: .*state.safetensors" "$work/later.out" || { cat "$work/later.out"; fail "no sentence names the file"; }
cmp "$work/damaged" "$work/later/state.safetensors" || fail "a damaged state is overwritten"
exit $failed
