#!/bin/sh
# --augment: a recipe's parts on the command line or in a file: what they change, and nothing else; kept in the
# checkpoint and compared when a run goes on; what is wrong with them is said.
. "$(dirname "$0")/../judged.sh"
BUILD=$(cd "$BUILD" && pwd)
mkdir "$work/data" && "$BUILD/tests/train/tool_draw" "$work/data" 48 16 || exit 1
cd "$work" || exit 1
train="$BUILD/examples/train_imagenet data --preset demo --recipe moco-v2 --size 16 -b 16 --bn-group-size 8 --moco-k 16 --moco-dim 8 --width 0.125 --threads 1 -j 1 --knn-every 0 --device ref"
losses() { # NAME OPTIONS...
    name=$1
    shift
    $train --no-report --epochs 1 --out "$name" "$@" >out 2>err || fail "$name: $(cat err)"
    grep -o '"loss":[^,}]*' "$name/metrics.jsonl" >"$name.losses"
    [ -s "$name.losses" ] || fail "$name: no losses"
}
losses plain
# moco-v2's own numbers, in another order and written otherwise.
losses same --augment 'blur_sigma=0.10:2,scale=.2:1,jitter_p=0.8,hue=1e-1,brightness=0.4,contrast=0.4,saturation=0.4,grey_p=0.2,flip_p=0.5,blur_p=0.5'
cmp -s plain.losses same.losses || fail "the recipe's own numbers change the losses"
grep -q '"augment":"scale=0.2:1,jitter_p=0.8,brightness=0.4,contrast=0.4,saturation=0.4,hue=0.1,grey_p=0.2,blur_p=0.5,blur_sigma=0.1:2,flip_p=0.5"' same/metrics.jsonl ||
    fail "the run's options: $(head -n 1 same/metrics.jsonl)"
grep -q augment plain/metrics.jsonl && fail "a run without it has an option of that name"
losses less --augment jitter_p=0,blur_p=0,scale=0.5:1
cmp -s plain.losses less.losses && fail "--augment changes nothing"
printf '# fewer\nscale = 0.5 : 1  # not so small, really\n\njitter_p=0\nblur_p = 0' >recipe
losses file --augment recipe
cmp -s less.losses file.losses || fail "a file is another recipe than its entries"

# Going on: without it, with the same, with another; a checkpoint without it.
goes_on() { $train --no-report --epochs 2 --out "$@" --resume auto >out 2>err; }
goes_on less || fail "without it: $(cat err)"
grep -q "augment  *scale=0.5:1,jitter_p=0,blur_p=0" out || fail "the checkpoint's is not taken"
goes_on file --augment blur_p=0,jitter_p=0.0,scale=0.5:1.0 || fail "the same: $(cat err)"
cmp -s less/checkpoint_0001.safetensors file/checkpoint_0001.safetensors || fail "two runs of one recipe differ"
goes_on file --augment jitter_p=0 && fail "another is taken"
grep -q "made with --augment scale=0.5:1,jitter_p=0,blur_p=0 and the command line says --augment jitter_p=0;" err || fail "not said: $(cat err)"
goes_on plain --augment jitter_p=0 && fail "one where there was none is taken"
grep -q 'made with --augment (none)' err || fail "not said: $(cat err)"
goes_on plain || fail "a checkpoint without it: $(cat err)"

# What is wrong.
wrong() { # TEXT, WORD
    $train --dry-run --out none --augment "$1" >out 2>err && fail "taken: $1"
    grep -q -- "$2" err || fail "no \"$2\" about $1: $(cat err)"
}
wrong nothing "the recipe nothing cannot be opened"
wrong blur=1 'there is no "blur"; there are scale'
wrong jitter_p=2 'jitter_p is "2"; it must be a number, 0 to 1'
wrong scale=0.5 'scale is "0.5"; it must be two numbers'
wrong scale=0.5:0.1 'the smaller one first'
wrong hue=0.1:0.2 'hue is "0.1:0.2"'
wrong grey_first=0.5 'a whole number'
wrong hue=nan 'hue is "nan"'
wrong hue=0.1,hue=0.1 "hue is said twice"
wrong hue=0.1,blur "is no entry"
head -c 70000 /dev/zero | tr '\0' '#' >long
wrong long "no text of at most 64 KiB"
# Of a checkpoint that somebody changed: its words are judged, and no file is opened by them.
sed 's/"augment/"AUGMENT/' less/checkpoint_0001.safetensors >changed.safetensors
$train --no-report --epochs 3 --out changed --resume changed.safetensors >out 2>err && fail "a changed checkpoint is taken"

# Shown, and drawn again.
picture=$(find data -name '*.png' | head -n 1)
"$BUILD/examples/show_views" "$picture" plain.png --views 4 --size 16 >plain.out || fail show_views
"$BUILD/examples/show_views" "$picture" less.png --views 4 --size 16 --augment recipe >less.out || fail "show_views --augment"
cmp -s plain.out less.out && fail "show_views --augment changes nothing"
grep -q jitter less.out && fail "show_views draws jitter: $(cat less.out)"
"$BUILD/examples/show_views" "$picture" less.png --augment hue=9 >out 2>err && fail "show_views takes hue=9"
$train --knn-every 1 --knn-k 5 --epochs 1 --out drawn --augment recipe >out 2>err || fail "a report: $(cat err)"
cp drawn/gallery.json before && "$BUILD/examples/report" --gallery drawn >out 2>err || fail "report --gallery: $(cat err)"
cmp -s drawn/gallery.json before || fail "report --gallery draws other views"
exit $failed
