#!/bin/sh
# Pictures that cannot be read, first, last, in the middle, neighbours, a whole class, in one set only, all: whoever
# scores or prints leaves them out, in step, counts them and says so. What is left is what a folder without them gives.
. "$(dirname "$0")/../judged.sh"
damage() { # files: cut in three ways
    for file in "$@"; do
        case $((cuts % 3)) in
        0) head -c 60 "$file" >"$work/cut" ;;
        1) : >"$work/cut" ;;
        *) echo "not a picture" >"$work/cut" ;;
        esac
        cuts=$((cuts + 1))
        cp "$work/cut" "$file"
    done
}
cuts=0

mkdir "$work/data"
"$BUILD/tests/train/tool_draw" "$work/data" 48 20 || exit 1
tiny="--preset demo --size 16 --batch-size 16 --bn-group-size 8 --moco-k 16 --moco-dim 8 --width 0.125 --epochs 1 --threads 1"
driver="$BUILD/examples/train_imagenet" embed="$BUILD/examples/embed" probe="$BUILD/examples/linear_probe"
expect 0 "" "$driver" "$work/data" $tiny --no-report --knn-every 0 --out "$work/run"
encoder=$work/run/encoder.safetensors

# embed: every vector beside its own path; a line less for each that is left out, to the bit.
set -- "$work"/data/train/0/*.png "$work"/data/train/1/*.png
flat() {
    rm -rf "$work/d" && mkdir "$work/d"
    for i in 1 2 3 4 5 6 7 8 9 10 11 12; do
        eval "cp \"\${$i}\" \"$work/d/\$(printf %02d $i).png\""
    done
}
flat "$@"
expect 0 "" "$embed" "$encoder" "$work/d"
cp "$work/out" "$work/whole"
[ -s "$work/err" ] && fail "embed warns of a folder that is right"
for bad in "01" "12" "06" "01 02 11 12" "05 06 07 08" "01 02 03 04 05 06 07 08 09 10 11"; do
    flat "$@"
    count=0
    cp "$work/whole" "$work/expected"
    for i in $bad; do
        damage "$work/d/$i.png"
        grep -v "/$i\.png	" "$work/expected" >"$work/less"
        mv "$work/less" "$work/expected"
        count=$((count + 1))
    done
    expect 0 "$count of 12 could not be read" "$embed" "$encoder" "$work/d"
    cmp -s "$work/out" "$work/expected" || fail "embed without $bad prints other lines than those of the others"
    grep -q "d/$(echo "$bad" | cut -d ' ' -f 1).png, cannot be read: " "$work/err" || fail "embed does not name $bad"
done
flat "$@"
damage "$work"/d/*.png
expect 1 "12 of 12 could not be read" "$embed" "$encoder" "$work/d"
[ -s "$work/out" ] && fail "embed prints something of pictures that it could not read"

# Neighbours: the list without the picture that is gone; asked about that one, it says so.
flat "$@"
expect 0 "" "$embed" "$encoder" "$work/d" 3
first=$(sed -n '2s/.*	//p' "$work/out")
sed -n '1p; 3,$p' "$work/out" >"$work/expected"
damage "$first"
expect 0 "1 of 12 could not be read" "$embed" "$encoder" "$work/d" 3
head -n "$(wc -l <"$work/expected")" "$work/out" | cmp -s - "$work/expected" || fail "neighbours change when one is gone"
[ "$(wc -l <"$work/out")" -eq 6 ] || fail "there are not five neighbours among those that are left"
asked=$(($(basename "$first" .png | sed 's/^0//') - 1))
expect 1 "image number $asked, .*cannot be read" "$embed" "$encoder" "$work/d" $asked
[ -s "$work/out" ] && fail "embed finds neighbours of a picture that it could not read"
expect 2 "no image number" "$embed" "$encoder" "$work/d" 12
expect 2 "no image number" "$embed" "$encoder" "$work/d" first
expect 0 "" "$embed" --help
grep -q "could not be read" "$work/out" || fail "embed --help does not speak of unreadable images"

# Class folders, one class without a readable picture.
cp -r "$work/data/train" "$work/classes"
damage "$work"/classes/1/*
expect 0 "16 of 48 could not be read" "$embed" "$encoder" "$work/classes"
[ "$(wc -l <"$work/out")" -eq 32 ] && ! grep -q "/1/" "$work/out" || fail "embed: a class that cannot be read"

# linear_probe: what it says of the rest is what it says of a folder without the damaged ones. tool_draw's test/ is the
# held-out set, five or six pictures a class.
three() { # FILE...: the first, one in the middle, the last
    eval "echo \"\$1\" \"\${$(($# / 2))}\" \"\${$#}\""
}
cp -r "$work/data" "$work/bad" && cp -r "$work/data" "$work/gone"
for set in train test; do
    set -- "$work/bad/$set"/*/*.png
    for file in $(three "$@"); do
        damage "$file"
        rm "$work/gone/$set/${file#"$work/bad/$set/"}"
    done
done
common="--pretrained $encoder --threads 1 --batch-size 20"
expect 0 "training images: 3 of 48 could not be read.*train/0/000.png" "$probe" "$work/bad" $common --fast --epochs 3 \
    --out "$work/pbad"
grep -q "held-out images: 3 of 16 could not be read" "$work/err" || fail "linear_probe says nothing of held-out images"
grep -q "of 13 held-out images, at" "$work/out" || fail "linear_probe does not say what its accuracy is over"
expect 0 "" "$probe" "$work/gone" $common --fast --epochs 3 --out "$work/pgone"
strip() { grep -v '"seconds"\|"data"\|_images"\|_unreadable"' "$1/probe.json"; }
[ "$(strip "$work/pbad")" = "$(strip "$work/pgone")" ] || fail "linear_probe: the others score otherwise"
for field in '"train_images":48' '"held_out_images":16' '"train_unreadable":3' '"held_out_unreadable":3' '"scored":13'; do
    grep -q "$field" "$work/pbad/probe.json" || fail "probe.json has no $field"
done
grep -q '"train_unreadable":0' "$work/pgone/probe.json" || fail "probe.json counts what is not there"

# The reference's protocol: whole and in two parts the same, and another order's views do not put labels out of step.
expect 0 "training images: 3 of 48 could not be read" "$probe" "$work/bad" $common --epochs 3 --out "$work/s1"
expect 0 "" "$probe" "$work/bad" $common --epochs 1 --out "$work/s2"
expect 0 "" "$probe" "$work/bad" $common --epochs 3 --resume auto --workers 3 --out "$work/s2"
cmp "$work/s1/probe_state.safetensors" "$work/s2/probe_state.safetensors" || fail "a resumed probe differs"
[ "$(grep -v seconds "$work/s1/probe.json")" = "$(grep -v seconds "$work/s2/probe.json")" ] || fail "its probe.json too"
grep -q '"train_unreadable":3' "$work/s1/probe.json" || fail "the slow protocol does not count"
expect 0 "" "$probe" "$work/bad" $common -e --resume "$work/s1/probe_best.safetensors" --out "$work/s3"
grep -q '"train_unreadable":null' "$work/s3/probe.json" || fail "--evaluate counts training images that it does not read"

# A class of which nothing can be read; in val only, in train only; nothing at all; more than --max-bad.
cp -r "$work/data" "$work/lost"
damage "$work"/lost/test/1/*
lost=$(ls "$work/lost/test/1" | wc -l)
expect 0 "1 of 3 classes have no held-out image that could be read; the first is \"1\"" "$probe" "$work/lost" $common \
    --fast --epochs 2 --out "$work/plost"
grep -q "\"scored\":$((16 - lost))," "$work/plost/probe.json" || fail "a class without pictures is scored"
tail -n 3 "$work/plost/probe.json" | head -n 2 | tail -n 1 | grep -q '\[0,0,0\]' || fail "its row is not empty"
damage "$work"/lost/train/2/*
expect 1 "11 of the data set's 48 images.*max_bad is 10.*--max-bad" "$probe" "$work/lost" $common --fast --epochs 2 \
    --out "$work/plost"
expect 0 "1 of 3 classes have no training image that could be read; the first is \"2\"" "$probe" "$work/lost" $common \
    --fast --epochs 2 --max-bad 48 --out "$work/plost"
damage "$work"/lost/test/*/*
expect 1 "held-out images: none of 16 could be read; the first is .*test/0/" "$probe" "$work/lost" $common --fast \
    --epochs 2 --max-bad 48 --out "$work/plost"
cp -r "$work/data/test/." "$work/lost/test"
damage "$work"/lost/train/*/*
for way in --fast ""; do
    expect 1 "training images: none of 48 could be read" "$probe" "$work/lost" $common $way --epochs 2 --max-bad 48 \
        --out "$work/plost2"
done

# The kNN monitor: of what it could read, in metrics.jsonl too; one warning a set, not one an epoch.
knn() { sed -n 's/.*"epoch":0,.*"knn_top1":\([0-9.]*\).*/\1/p' "$1/metrics.jsonl"; }
expect 0 "kNN monitor, training images: 3 of 48 could not be read" "$driver" "$work/bad" $tiny --epochs 2 --knn-k 5 \
    --out "$work/rbad"
[ "$(grep -c "kNN monitor, held-out images: 3 of 16 could not be read" "$work/err")" -eq 1 ] || fail "not one warning"
[ "$(grep -c '"knn_bank":45,"knn_queries":13,"knn_unreadable":6' "$work/rbad/metrics.jsonl")" -eq 3 ] ||
    fail "metrics.jsonl does not say what the monitor read"
expect 0 "" "$driver" "$work/gone" $tiny --knn-k 5 --no-report --out "$work/rgone"
[ -n "$(knn "$work/rbad")" ] && [ "$(knn "$work/rbad")" = "$(knn "$work/rgone")" ] || fail "the monitor scores otherwise"

# The gallery: every picture in it is one that can be read, under its own number; --gallery says what is left out.
grep -q '"of":"held-out","bank":45,.*"unreadable":6' "$work/rbad/gallery.json" || fail "the gallery does not count"
grep -q " 6 that could not be read are left out" "$work/rbad/report.html" || fail "the page does not count"
grep -q '"id":0,' "$work/rbad/gallery.json" && fail "the gallery shows number 0, which cannot be read"
expect 0 "held-out images: 3 of 16 could not be read" "$BUILD/examples/report" --gallery "$work/rbad"
grep -q "training images: 3 of 48 could not be read" "$work/err" || fail "report --gallery says nothing of training images"
damage "$work"/bad/train/0/001* "$work"/bad/train/0/01* # the first sheets' pictures
expect 0 "" "$BUILD/examples/report" --gallery "$work/rbad"

# Nothing held out that can be read: training goes on without its accuracy, and says why.
cp -r "$work/data" "$work/blind"
damage "$work"/blind/test/*/*
expect 0 "no kNN accuracy: .* training goes on without it" "$driver" "$work/blind" $tiny --max-bad 16 --no-report \
    --out "$work/rblind"
grep -q '"knn_queries":0,"knn_unreadable":16,.*"knn_top1":null' "$work/rblind/metrics.jsonl" || fail "a blind monitor"

# The demo on a folder.
mkdir "$work/many"
"$BUILD/tests/train/tool_draw" "$work/many" 192 24 || exit 1
damage "$work"/many/train/0/00* "$work"/many/train/2/01* "$work"/many/train/1/19*
expect 0 "pictures: [0-9]* of 192 could not be read" "$BUILD/examples/demo" "$work/many/train" --steps 2 --threads 1 \
    --out "$work/demo"
damage "$work"/many/train/*/*
expect 1 "pictures: none of 192 could be read" "$BUILD/examples/demo" "$work/many/train" --steps 2 --threads 1 \
    --out "$work/demo"

# One picture at a time.
expect 1 "" "$BUILD/examples/show_views" "$work/many/train/0/000.png" "$work/views.png"
[ -e "$work/views.png" ] && fail "show_views draws a picture that it could not read"
exit $failed
