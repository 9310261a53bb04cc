#!/bin/sh
# linear_probe as a person uses it, on a few drawn pictures: both protocols, stopped and resumed, wrong data and options.
. "$(dirname "$0")/../judged.sh"
probe=$BUILD/examples/linear_probe
same() { cmp "$1" "$2" || fail "$1 and $2 differ"; }

mkdir "$work/data"
"$BUILD/tests/train/tool_draw" "$work/data" 96 48 || exit 1
expect 0 "" "$BUILD/examples/train_imagenet" "$work/data" --preset demo --size 16 --batch-size 16 --bn-group-size 8 \
    --moco-k 40 --moco-dim 16 --width 0.125 --epochs 1 --threads 1 --no-report --knn-every 0 --out "$work/run"
encoder=$work/run/encoder.safetensors
common="--pretrained $encoder --threads 1 --batch-size 20"

# The fast path; its file. A checkpoint's query encoder is the same encoder.
expect 0 "" $probe "$work/data" $common --fast --epochs 30 --out "$work/fast"
grep -q "fast path" "$work/out" || fail "the fast path does not say that it is one"
grep -q "encoder is unchanged" "$work/out" || fail "nothing is said of the encoder"
[ "$(grep -c '  lr ' "$work/out")" -eq 10 ] || fail "the sweep has not ten rates"
expect 0 "" $probe "$work/data" --pretrained "$work/run/checkpoint_0000.safetensors" --threads 1 --batch-size 20 --fast \
    --epochs 30 --out "$work/fast2"
strip() { grep -v '"seconds"\|"encoder"' "$1"; }
[ "$(strip "$work/fast/probe.json")" = "$(strip "$work/fast2/probe.json")" ] || fail "encoder and checkpoint differ"
expect 0 "" $probe "$work/data" $common --fast --lr 1 --epochs 3 --out "$work/one"
grep -q '"lr":1,"top1"' "$work/one/probe.json" || fail "--lr is not the one rate"

# The reference's protocol: whole; in two parts; with other workers; stopped by a signal. The same bytes.
expect 0 "" $probe "$work/data" $common --epochs 4 --schedule 2 3 -p 1 --out "$work/a"
expect 0 "" $probe "$work/data" $common --epochs 2 --schedule 2 3 --out "$work/b"
expect 0 "" $probe "$work/data" $common --epochs 4 --schedule 2 3 --workers 3 --resume auto --out "$work/b"
same "$work/a/probe_state.safetensors" "$work/b/probe_state.safetensors"
same "$work/a/probe_best.safetensors" "$work/b/probe_best.safetensors"
[ "$(strip "$work/a/probe.json")" = "$(strip "$work/b/probe.json")" ] || fail "a resumed probe has another result"
: >"$work/stopped" # it is looked at before the program may have been started
$probe "$work/data" $common --epochs 50000 --schedule 2 3 --out "$work/c" >"$work/stopped" 2>"$work/err" &
pid=$! tries=0
while [ "$(grep -c 'held out: top-1' "$work/stopped")" -lt 3 ] && [ $tries -lt 300 ]; do
    sleep 0.1
    tries=$((tries + 1))
done
kill -TERM $pid
wait $pid
status=$?
[ $status -eq 75 ] || { fail "status $status after SIGTERM, not 75"; cat "$work/err"; }
epochs=$(($(grep -c 'held out: top-1' "$work/stopped") + 2))
expect 0 "" $probe "$work/data" $common --epochs $epochs --schedule 2 3 --resume auto --out "$work/c"
expect 0 "" $probe "$work/data" $common --epochs $epochs --schedule 2 3 --out "$work/d"
same "$work/c/probe_state.safetensors" "$work/d/probe_state.safetensors"

# What the best probe scores by itself is what was reported.
expect 0 "" $probe "$work/data" $common -e --resume "$work/a/probe_best.safetensors" --out "$work/e"
top() { sed -n 's/^ "top1":\([0-9.]*\),$/\1/p' "$1/probe.json"; }
[ -n "$(top "$work/a")" ] && [ "$(top "$work/a")" = "$(top "$work/e")" ] || fail "--evaluate scores otherwise"

# Every number of the file.
if command -v python3 >/dev/null 2>&1; then
    python3 - "$work/fast/probe.json" "$work/a/probe.json" <<'END' || fail "probe.json is not what it should be"
import json, sys
for path in sys.argv[1:]:
    r = json.load(open(path))
    rows, n = r["confusion"], r["held_out_images"]
    k = len(r["classes"])
    assert len(rows) == k and all(len(row) == k for row in rows) and sum(map(sum, rows)) == n, "confusion"
    assert abs(r["top1"] - 100 * sum(rows[i][i] for i in range(k)) / n) < 1e-9, "top-1 is not the diagonal"
    assert r["top5"] >= r["top1"] and r["encoder_unchanged"] is True and len(r["encoder_xxh3"]) == 32
    assert 0 <= r["features"]["effective_rank"] <= r["feature_dim"] and r["features"]["uniformity"] <= 0
    if r["fast"]:
        assert r["top1"] == max(x["top1"] for x in r["per_rate"]) and len(r["per_rate"]) == 10
    else:
        tops = [x["top1"] for x in r["per_epoch"]]
        assert r["top1"] == max(tops) and r["best_epoch"] == tops.index(max(tops)) + 1 and len(tops) == 4
END
fi

# Options and files that do not fit.
expect 2 "which images" $probe --pretrained "$encoder"
expect 2 "which encoder" $probe "$work/data"
expect 2 "no option" $probe "$work/data" $common --moco-k 5
expect 2 "needs a probe" $probe "$work/data" $common -e
cp -r "$work/a" "$work/a.before"
expect 1 "holds a probe already; choose another --out" $probe "$work/data" $common --fast --out "$work/a"
expect 1 "holds a probe already; go on with --resume auto" $probe "$work/data" $common --epochs 1 --out "$work/a"
diff -r "$work/a" "$work/a.before" || fail "a probe was written over"
expect 2 "leave one out" $probe "$work/data" $common --fast --resume auto
expect 1 "holds a resnet18" $probe "$work/data" $common -a resnet50 --out "$work/x"
expect 1 "none/there" $probe "$work/data" --pretrained "$work/none/there" --out "$work/x"
expect 1 "holds a probe already" $probe "$work/data" $common --epochs 4 --schedule 2 3 --out "$work/a"
expect 1 "lr 30" $probe "$work/data" $common --schedule 2 3 --lr 3 --resume auto --out "$work/a"
expect 1 "holds a probe, not an encoder" $probe "$work/data" --pretrained "$work/a/probe_best.safetensors" --out "$work/x"
expect 1 "not a probe" $probe "$work/data" $common -e --resume "$encoder" --out "$work/x"
head -c 3000 "$work/a/probe_state.safetensors" >"$work/cut"
expect 1 "cut" $probe "$work/data" $common --resume "$work/cut" --out "$work/x"

# Data that a probe cannot use: it says what it needs. Training goes on without its monitor, and says why.
needs() { # SENTENCE FOLDER
    expect 1 "needs labelled images.*$1" $probe "$2" $common --fast --out "$work/x"
    expect 0 "no kNN monitor: $1" "$BUILD/examples/train_imagenet" "$2" --preset demo --size 16 --batch-size 8 \
        --bn-group-size 8 --moco-k 8 --moco-dim 8 --width 0.125 --epochs 1 --max-steps 1 --threads 1 --no-report \
        --out "$work/run.$(basename "$2")"
    [ -s "$work/run.$(basename "$2")/encoder.safetensors" ] || fail "$2: training did not go on"
}
held=$work/data/val
[ -d "$held" ] || held=$work/data/test
first=$(ls "$held" | head -n 1) second=$(ls "$held" | sed -n 2p)
for kind in alone flat unlabelled oneclass fewer renamed; do mkdir "$work/$kind"; done
cp -r "$work/data/train" "$work/alone/train"
needs "there is no val/ or test/" "$work/alone"
mkdir "$work/flat/train" "$work/flat/val"
for class in "$work"/data/train/*/; do
    for image in "$class"*; do cp "$image" "$work/flat/train/$(basename "$class")-$(basename "$image")"; done
done
cp "$held/$first"/* "$work/flat/val"
needs "the training images have no labels" "$work/flat"
cp -r "$work/data/train" "$work/unlabelled/train"
cp -r "$work/flat/val" "$work/unlabelled/val"
needs "the held-out images have no labels" "$work/unlabelled"
mkdir "$work/oneclass/train" "$work/oneclass/val"
cp -r "$work/data/train/$first" "$work/oneclass/train"
cp -r "$held/$first" "$work/oneclass/val"
needs "the training images are all of one class" "$work/oneclass"
cp -r "$work/data/train" "$work/fewer/train"
cp -r "$held" "$work/fewer/val"
rm -r "${work:?}/fewer/val/$first"
mkdir "$work/strange" && cp -r "$work/fewer/train" "$work/strange/train" && cp -r "$held" "$work/strange/val"
for class in "$work"/strange/val/*; do mv "$class" "$work/strange/val/other-$(basename "$class")"; done
needs "no class folder of val/ (other-.*) is named as one of train/" "$work/strange"

# Classes are matched by name: what one side lacks is said, and the rest is measured.
partly() { # SENTENCE FOLDER
    expect 0 "$1" $probe "$2" $common --fast --out "$work/part.$(basename "$2")"
    expect 0 "$1" "$BUILD/examples/train_imagenet" "$2" --preset demo --size 16 --batch-size 8 --bn-group-size 8 --moco-k 8 \
        --moco-dim 8 --width 0.125 --epochs 1 --max-steps 1 --threads 1 --no-report --out "$work/run.$(basename "$2")"
    grep -q '"knn_top1":[0-9]' "$work/run.$(basename "$2")/metrics.jsonl" || fail "$2: nothing was measured"
}
partly "val/ has none of the class folder $first of train/" "$work/fewer"
cp -r "$work/fewer/train" "$work/renamed/train"
cp -r "$held" "$work/renamed/val"
mv "$work/renamed/val/$second" "$work/renamed/val/something-else"
partly "val/ has 1 class folder that train/ has not (something-else)" "$work/renamed"

# A probe of other classes, or of another encoder's features, is not scored: the sentence says what each of them has.
mkdir "$work/other"
cp -r "$work/data/train" "$work/other/train"
cp -r "$held" "$work/other/val"
mv "$work/other/train/$second" "$work/other/train/something-else"
mv "$work/other/val/$second" "$work/other/val/something-else"
expect 1 "was trained on other classes" $probe "$work/other" $common -e --resume "$work/a/probe_best.safetensors" \
    --out "$work/x"
mkdir "$work/two"
cp -r "$work/data/train" "$work/two/train"
cp -r "$held" "$work/two/val"
rm -r "${work:?}/two/train/$first" "${work:?}/two/val/$first"
expect 1 "a probe of 64 features and 3 classes; the encoder has 64, and the images 2" $probe "$work/two" $common -e \
    --resume "$work/a/probe_best.safetensors" --out "$work/x"
tiny="--preset demo --size 16 --batch-size 16 --bn-group-size 8 --moco-k 24 --moco-dim 8 --epochs 1 --threads 1 --no-report"
expect 0 "looks among 96 images, fewer than --knn-k 97: all of them vote" "$BUILD/examples/train_imagenet" \
    "$work/data" $tiny --width 0.25 --knn-k 97 --out "$work/wide"
grep -q '"knn_top1":[0-9]' "$work/wide/metrics.jsonl" || fail "with fewer images than k there is no kNN"
expect 1 "a probe of 64 features and 3 classes; the encoder has 128, and the images 3" $probe "$work/data" --pretrained \
    "$work/wide/encoder.safetensors" --threads 1 -e --resume "$work/a/probe_best.safetensors" --out "$work/x"

# As many images as k are enough; a smaller bank is not.
expect 0 "" "$BUILD/examples/train_imagenet" "$work/data" $tiny --width 0.125 --knn-k 96 --out "$work/k96"
grep -q "of them vote" "$work/err" && fail "k 96 of 96 images is warned of"
expect 0 "looks among 50 images, fewer than --knn-k 96" "$BUILD/examples/train_imagenet" "$work/data" $tiny \
    --width 0.125 --knn-k 96 --knn-bank 50 --out "$work/bank50"

# Images that are all the same: their features are too, and both programs say what that means.
mkdir "$work/blank"
cp -r "$work/data/train" "$work/blank/train"
cp -r "$held" "$work/blank/val"
for image in "$work"/blank/*/*/*; do cp "$held/$first/$(ls "$held/$first" | head -n 1)" "$image"; done
expect 0 "the features have collapsed" $probe "$work/blank" $common --fast --epochs 2 --out "$work/blank-probe"
expect 0 "the features have collapsed" "$BUILD/examples/train_imagenet" "$work/blank" --preset demo --size 16 \
    --batch-size 16 --bn-group-size 8 --moco-k 24 --moco-dim 8 --width 0.125 --epochs 1 --threads 1 --no-report \
    --out "$work/blank-run"

# Help names every option once and fits a terminal.
expect 0 "" $probe --help
[ "$(awk 'length > 120' "$work/out" | wc -l)" -eq 0 ] || fail "--help has lines of more than 120 characters"
exit $failed
