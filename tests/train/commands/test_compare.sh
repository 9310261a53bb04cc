#!/bin/sh
# compare as a person uses it, on a few drawn pictures: says how long it will take, runs every mechanism, is stopped and
# goes on, tells a run that failed, leaves the tables.
. "$(dirname "$0")/../judged.sh"
compare=$BUILD/examples/compare

mkdir "$work/data"
"$BUILD/tests/train/tool_draw" "$work/data" 48 24 || exit 1
tiny="--preset demo --size 16 --batch-size 16 --moco-k 12 --width 0.125 --threads 1 --workers 1 --epochs 2"
tables="--tables accuracy,cost,negatives --batches 8,16 --cost-batches 8,16 --cost-group 8 --cost-steps 2"

# Nothing is run by --dry-run, which lists all: 4 mechanisms, 4 x 2 costs, 2 x 2 negatives.
expect 0 "" $compare "$work/data" $tiny $tables --dry-run --out "$work/runs"
grep -q '^16 runs, 0 of them done; the others take about ' "$work/out" || { fail "no estimate"; cat "$work/out"; }
[ "$(grep -c '^  [a-z]' "$work/out")" -eq 16 ] || fail "not 16 runs are listed"
[ ! -e "$work/runs" ] || fail "--dry-run left something"

# Stopped by a signal in some run: status 75, and the same command goes on.
$compare "$work/data" $tiny $tables --out "$work/runs" >"$work/out" 2>"$work/err" &
pid=$!
tries=0
until [ -e "$work/runs/accuracy-moco-v1-seed0/train_imagenet.log" ] || [ $tries -ge 600 ]; do
    sleep 0.1
    tries=$((tries + 1))
done
kill -TERM $pid
wait $pid
status=$?
[ $status -eq 75 ] || { fail "stopped with status $status, not 75"; cat "$work/err"; }
grep -q "the same command goes on" "$work/err" || fail "it does not say how to go on"

# A folder that a run cannot write: that one is told, the others run.
: >"$work/runs/cost-simclr-16-seed0"
expect 1 "cost-simclr-16-seed0" $compare "$work/data" $tiny $tables --out "$work/runs"
grep -q "1 runs failed" "$work/err" || fail "it does not count what failed"
rm "$work/runs/cost-simclr-16-seed0"
expect 0 "" $compare "$work/data" $tiny $tables --out "$work/runs"
grep -q '^16 runs, 15 of them done' "$work/out" || { fail "what was done is done again"; head -n 3 "$work/out"; }

# Every number of the tables is there, and stands in the run's own file.
for row in moco-v2 moco-v1 simclr end-to-end; do
    line=$(grep "^| $row |" "$work/runs/compare.md" | head -n 1)
    knn=$(sed -n 's/.*"knn_top1":\([0-9.]*\).*/\1/p' "$work/runs/accuracy-$row-seed0/cell.json")
    linear=$(sed -n 's/.*"linear_top1":\([0-9.]*\).*/\1/p' "$work/runs/accuracy-$row-seed0/cell.json")
    wanted=$(awk -v k="$knn" -v l="$linear" 'BEGIN { printf "| %.1f | %.1f |", k, l }')
    case $line in
    "| $row $wanted"*) ;;
    *) fail "compare.md has \"$line\", the run $wanted" ;;
    esac
    grep -q '"knn_top1":[0-9]' "$work/runs/accuracy-$row-seed0/metrics.jsonl" || fail "$row has no kNN"
    [ -s "$work/runs/accuracy-$row-seed0/probe.json" ] || fail "$row has no linear probe"
done
for title in 'Mechanisms at equal steps' 'peak memory' 'seconds a step' 'kNN top-1' 'linear top-1'; do
    grep -q "^## .*$title" "$work/runs/compare.md" || fail "compare.md has no table of $title"
done
grep -q 'does not fit' "$work/runs/compare.md" && fail "a run of the table of costs has no numbers"
[ -s "$work/runs/compare.html" ] || fail "there is no compare.html"
expect 0 "" $compare "$work/data" $tiny $tables --out "$work/runs"
[ "$(grep -c '^\[' "$work/out")" -eq 0 ] || fail "a finished comparison runs something"

# Other options are another comparison; a run that died before its first checkpoint starts again.
expect 2 "other options" $compare "$work/data" $tiny $tables --epochs 3 --out "$work/runs"
rm "$work/runs/accuracy-moco-v1-seed0"/checkpoint_* "$work/runs/accuracy-moco-v1-seed0/cell.json" "$work/runs/cost-moco-v2-8-seed0/cell.json"
expect 0 "" $compare "$work/data" $tiny $tables --out "$work/runs"
grep -q '^16 runs, 14 of them done' "$work/out" || { fail "two runs were to be done again"; head -n 3 "$work/out"; }

# Mistakes.
expect 2 "which images" $compare
expect 1 "cannot be opened" $compare "$work/nothing" --out "$work/none"
[ ! -e "$work/none" ] || fail "a wrong folder of images left a folder of runs"
expect 2 "no table \"speed\"" $compare "$work/data" --tables speed
expect 2 "not both" $compare "$work/data" --patterns
expect 2 "batches of 64 images" $compare "$work/data" $tiny --tables cost --cost-batches 64 --out "$work/large"
mkdir -p "$work/flat" && cp "$work"/data/train/*/* "$work/flat"/
expect 2 "needs no labels" $compare "$work/flat" $tiny --out "$work/unlabelled"
exit $failed
