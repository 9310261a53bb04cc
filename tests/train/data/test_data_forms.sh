#!/bin/sh
# One set of images in every form that the programs take: class folders, tar shards, lists, several folders. Training on
# each gives the same losses to the last digit, and embedding the same vectors; probes and the demo take them, too.
. "$(dirname "$0")/../judged.sh"
BUILD=$(cd "$BUILD" && pwd)
mkdir "$work/base" && "$BUILD/tests/train/tool_draw" "$work/base" 48 16 && mv "$work/base/test" "$work/base/val" || exit 1
cd "$work" || exit 1
tiny="--preset demo --size 16 -b 8 --bn-group-size 8 --moco-k 8 --moco-dim 16 --width 0.125 --threads 1 -j 1 --no-report --device ref"

# The same images in the same order, with numbers for labels.
mkdir shards parts
for part in train val; do
    for class in 0 1 2; do
        for file in base/$part/$class/*.png; do
            printf '%s\t%s\n' "$file" "$class"
            printf '%s\n' "$class" >"${file%.png}.cls"
        done
    done >$part.txt
    mkdir -p parts/$part
    for class in 0 1 2; do
        tar --sort=name -cf shards/set-$part-$class.tar -C base/$part $class
        cp shards/set-$part-$class.tar parts/$part/
    done
done
find base -name '*.cls' -delete
tar -cf train.tar -C base/train 0 && tar -cf val.tar -C base/val 0

run() { # NAME, DIR...: trains one epoch; what was computed goes to NAME.sums
    name=$1
    shift
    "$BUILD/examples/train_imagenet" "$@" $tiny --knn-k 5 --epochs 1 --out "runs/$name" >$name.out 2>$name.err || { fail "$name: $(cat $name.err)"; return; }
    grep -o '"loss":[^,}]*' "runs/$name/metrics.jsonl" >$name.sums
    [ -s $name.sums ] || fail "$name: no losses"
}
run folder base
run shards shards
run parts parts
run list train.txt
for part in train val; do
    "$BUILD/examples/train_imagenet" parts/$part $tiny --save-index $part.idx --out none >out 2>err || fail "an index of $part: $(cat err)"
done
[ -e none ] && fail "--save-index makes a run folder"
run index train.idx
for form in shards parts list index; do
    cmp -s folder.sums $form.sums || fail "$form: other losses than the folder's: $(diff folder.sums $form.sums | head -3)"
done
grep -q "^  data .*3 tar shards.*: 48 images, 3 classes" shards.out || fail "shards: $(grep '^  data' shards.out)"
grep -q "^  data .*train.txt and val.txt: 48 images, 3 classes" list.out || fail "list: $(grep '^  data' list.out)"
grep -q "^  data .*train.idx and val.idx: 48 images, 3 classes" index.out || fail "index: $(grep '^  data' index.out)"
"$BUILD/examples/train_imagenet" train.idx $tiny --epochs 2 --resume auto --out runs/index >out 2>err || fail "an index, resumed: $(cat err)"
grep -aqE '48 images, 3 classes, [0-9a-f]{32}[^0-9a-f]' runs/index/*.safetensors || fail "the data of a run by an index are not known by its hash"
"$BUILD/examples/train_imagenet" base $tiny --save-index folder.idx --out none >out 2>err && fail "a folder has an index"
grep -q "only a data set that was opened from tar shards has an index .*; name tar shards as DATA$" err || fail "what has an index is not told: $(cat err)"
for form in folder shards parts list index; do
    [ -s $form.err ] && fail "$form: words about it: $(cat $form.err)"
    grep -q '"knn' runs/$form/metrics.jsonl || fail "$form: nothing was measured on what is held out"
done

# Several: as words or with colons; moved, they are the same set; with other images, another.
mkdir one two && cp -r base/train/0 base/train/1 one && cp -r base/train/1 base/train/2 two
"$BUILD/examples/train_imagenet" one two $tiny --dry-run --out none >out 2>err || fail "two folders: $(cat err)"
grep -q "^  data .*class folders, class folders: 64 images, 3 classes" out || fail "two folders: $(grep '^  data' out)"
run several one:two
mkdir moved && mv one two moved
"$BUILD/examples/train_imagenet" moved/one moved/two $tiny --epochs 2 --resume auto --out runs/several >out 2>err ||
    fail "several that were moved: $(cat err)"
"$BUILD/examples/train_imagenet" moved/two moved/one $tiny --epochs 3 --resume auto --out runs/several >out 2>err &&
    fail "another order of images is taken for the same"
"$BUILD/examples/train_imagenet" moved/one shards $tiny --dry-run --out none >out 2>err && fail "names and numbers are joined"
grep -q "names" err || fail "not said: $(cat err)"
"$BUILD/examples/train_imagenet" base nowhere $tiny --dry-run --out none >out 2>err && fail "a folder that is not there"
grep -q "nowhere cannot be opened" err || fail "not said: $(cat err)"
"$BUILD/examples/train_imagenet" moved/one base $tiny --dry-run --out none >out 2>err || fail "one part without held-out images: $(cat err)"
grep -q "nothing of moved/one is held out" err || fail "not said: $(cat err)"

# A shard beside another; one image.
"$BUILD/examples/train_imagenet" train.tar $tiny --dry-run --out none >out 2>err || fail "a shard: $(cat err)"
grep -q "^  data .*train.tar and val.tar: 16 images" out || fail "a shard: $(grep '^  data' out)"
"$BUILD/examples/train_imagenet" "$(find base/val -name '*.png' | head -n 1)" $tiny --dry-run --out none >out 2>err && fail "one image"
grep -q "is one image" err || fail "not said: $(cat err)"

# An archive that was unpacked beside itself is no shard.
mkdir -p deep/a/b/c/d && cp base/train/?/*.png deep/a/b/c/d && tar -cf deep/all.tar -C base val
"$BUILD/examples/train_imagenet" deep $tiny --dry-run --out none >out 2>err || fail "deep: $(cat err)"
grep -q "^  data .*class folders: 48 images" out || fail "deep: $(grep '^  data' out)"

# The other programs.
encoder=runs/folder/encoder.safetensors
vectors() { "$BUILD/examples/embed" $encoder "$1" 2>err | cut -f 2- >"$2" || fail "embed $1: $(cat err)"; [ -s "$2" ] || fail "embed $1: $(cat err)"; }
vectors base/val val.folder
for form in val.txt parts/val; do
    vectors $form val.other
    cmp -s val.folder val.other || fail "embed $form: other vectors"
done
vectors base/val:base/train both
vectors base/train train.folder
cat val.folder train.folder | cmp -s - both || fail "embed of two folders: other vectors"
for form in base shards train.txt; do
    "$BUILD/examples/linear_probe" $form --pretrained $encoder --fast --epochs 3 --threads 1 --device ref --out "probe-$(basename $form)" >out 2>err || fail "linear_probe $form: $(cat err)"
    grep -o '"\(top1\|loss\)":[0-9.e+-]*' "probe-$(basename $form)/probe.json" >scores
    [ -s first_scores ] || cp scores first_scores
    [ -s scores ] && cmp -s scores first_scores || fail "linear_probe $form: other scores than from folders"
done
"$BUILD/examples/demo" shards >out 2>err && fail "the demo takes too few pictures"
grep -q "holds 64 pictures" err || fail "demo: $(cat err)"
"$BUILD/examples/compare" shards --out compared >out 2>err && fail "compare takes too few pictures"
grep -q "the training set has 48" err || fail "compare: $(cat err)"
# Pictures that nobody reads are counted at the top.
cp -r base/val odd && touch odd/0/a.tiff odd/1/b.TIFF odd/2/c.bmp
"$BUILD/examples/embed" $encoder odd >out 2>err || fail "embed: $(cat err)"
grep -q "3 pictures in odd are left out (2 .tiff, 1 .bmp), beside the 16 that are read" err || fail "embed says nothing of what is left out: $(cat err)"
mkdir tiffs && for part in train val; do tar -cf tiffs/$part.tar --sort=name -C odd 0 1; done
"$BUILD/examples/train_imagenet" tiffs $tiny --dry-run --out none >out 2>err || fail "shards: $(cat err)"
grep -q "2 pictures in tiffs are left out (2 .tiff)" err || fail "nothing of what shards leave out: $(cat err)"
exit $failed
