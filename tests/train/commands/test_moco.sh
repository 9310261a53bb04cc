#!/bin/sh
# The installed command: each program under its command, by that name in its help, its sentences and the command lines that
# it prints, which work as they are; it starts itself again for how threads wait, and compare starts its own commands.
set -u
: "${BUILD:=build}"
case $BUILD in /*) ;; *) BUILD=$PWD/$BUILD ;; esac
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
unset OMP_WAIT_POLICY GOMP_SPINCOUNT MOCO_WAIT # of tests/run.sh
moco=$BUILD/examples/moco
failed=0
fail() {
    echo "$*"
    failed=1
}
PATH=$BUILD/examples:$PATH
mkdir "$work/pictures" && "$BUILD/tests/train/tool_draw" "$work/pictures" 256 24 || exit 1
cd "$work" || exit 1

"$moco" --help >help || fail "--help: $?"
[ "$("$moco" --version)" = "moco $(sed -n 's/^.define MOCO_VERSION_\(MAJOR\|MINOR\|PATCH\) //p' "$OLDPWD/include/moco/base.h" | paste -sd.)" ] ||
    fail "--version says $("$moco" --version)"
commands=$(sed -n 's/^  \([a-z]*\)  .*/\1/p' help)
[ "$(echo "$commands" | wc -l)" -ge 10 ] || fail "--help lists only: $commands"
for command in $commands; do
    "$moco" "$command" --help >text 2>&1 || fail "$command --help: $?"
    grep -q "Usage: moco $command " text || { head -n 2 text; fail "$command calls itself something else"; }
    grep -nE "train_imagenet|linear_probe|Usage: [^m]|examples/|moco report\.html" text && fail "$command --help names what is not installed"
    "$moco" "$command" --no-such-option >text 2>&1 && fail "$command takes any option"
done
"$moco" nothing >text 2>&1
[ $? -eq 2 ] && grep -q 'no command nothing' text || fail "moco nothing: $(cat text)"

# A run that a signal stops prints the command that goes on, and that command goes on.
small="--preset demo --batch-size 32 --moco-k 64 --knn-every 0 --no-report --workers 1"
# shellcheck disable=SC2086
"$moco" train pictures/train $small --epochs 500 --out stopped >out 2>&1 &
pid=$!
for _ in $(seq 600); do
    [ "$(grep -c '"type":"step"' stopped/metrics.jsonl 2>/dev/null || echo 0)" -ge 2 ] 2>/dev/null && break
    sleep 0.05
done
kill -TERM $pid
wait $pid
[ $? -eq 75 ] || { cat out; fail "a stopped run: no status 75"; }
again=$(sed -n 's/.*go on with: \(moco train .*\)/\1/p' out)
[ -n "$again" ] || { cat out; fail "it does not print a command of moco"; }
sh -c "$again --epochs 500 --max-steps 1" >out2 2>&1 || { cat out2; fail "the printed command fails: $again"; }
head -n 1 stopped/metrics.jsonl | grep -q '"wait":"auto, [0-9]* pauses"' || fail "it did not start itself again"

# The same encoder as the program's own file makes, and what stands on it.
# shellcheck disable=SC2086
for way in "$moco train" "$BUILD/examples/train_imagenet"; do
    $way pictures/train $small --max-steps 4 --out "run$(echo "$way" | wc -w)" >out 2>&1 || { cat out; fail "$way"; }
done
cmp run1/encoder.safetensors run2/encoder.safetensors || fail "other bits as a command"
"$moco" train pictures/train --pretrained x >out 2>&1
grep -q 'moco train starts from random weights.*moco probe takes an encoder' out || { cat out; fail "an option of the other program"; }
"$moco" verify pictures >out 2>&1 || { cat out; fail "verify"; }
class=$(ls pictures/train | head -n 1)
printf 'no picture' >"pictures/train/$class/broken.jpg"
"$moco" verify pictures/train >out 2>&1
[ $? -eq 1 ] && grep -q "^pictures/train/$class/broken.jpg$(printf '\t')" out || { cat out; fail "verify does not name a broken picture"; }
rm "pictures/train/$class/broken.jpg"

"$moco" compare --patterns --tables cost --cost-batches 16 --cost-steps 2 --arch resnet18 --width 0.125 --threads 1 --workers 1 \
    --out compared >out 2>&1 || { tail -n 5 out; fail "compare does not start moco train"; }
# Its patterns are classes with names of their own, which reports and tables show.
[ "$(ls compared/pictures/train)" = "$(ls compared/pictures/test)" ] && ls compared/pictures/test | grep -qx 'horizontal stripes' &&
    [ "$(ls compared/pictures/test | wc -l)" -eq 10 ] || { ls compared/pictures/*; fail "the patterns are not ten named classes"; }
[ "$(ls compared/pictures/test/checks | wc -l)" -eq 100 ] && "$moco" verify compared/pictures >out 2>&1 || { cat out; fail "the patterns cannot be read"; }
exit $failed
