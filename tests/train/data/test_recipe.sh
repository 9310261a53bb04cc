#!/bin/sh
# The encoder's file says how images were looked at when it was measured; every program looks at them so, unless told
# otherwise, and says what it does with a file that is silent.
. "$(dirname "$0")/../judged.sh"
mkdir "$work/data"
"$BUILD/tests/train/tool_draw" "$work/data" 48 20 || exit 1
tiny="--preset demo --size 16 --batch-size 16 --bn-group-size 8 --moco-k 16 --moco-dim 8 --width 0.125 --epochs 1 --threads 1"
embed="$BUILD/examples/embed" probe="$BUILD/examples/linear_probe"
vectors() { # NAME EMBED'S ARGUMENTS...
    to=$1
    shift
    expect 0 "" "$embed" "$@" "$work/data/test"
    cp "$work/out" "$work/v.$to"
}
looked_at() { sed -n 's/^ "eval_recipe":"\(.*\)",*$/\1/p' "$work/p/probe.json"; }
probe_says() { # NAME WORD ENCODER OPTIONS...
    name=$1 word=$2
    shift 2
    expect 0 "" "$probe" "$work/data" --threads 1 --fast --epochs 2 --out "$work/p" --pretrained "$@"
    [ "$(looked_at)" = "$name" ] || fail "linear_probe looked at images by $(looked_at), not $name: $*"
    grep -q "^looked at $name.*$word" "$work/out" || { fail "linear_probe does not say \"$word\": $*"; cat "$work/out"; }
}

for recipe in none eval simclr-eval; do
    expect 0 "" "$BUILD/examples/train_imagenet" "$work/data" $tiny --eval-recipe $recipe --no-report --out "$work/$recipe"
    encoder=$work/$recipe/encoder.safetensors
    vectors itself "$encoder"
    [ -s "$work/err" ] && fail "embed warns of an encoder that says all"
    for other in none eval simclr-eval; do
        vectors told --eval-recipe $other "$encoder"
        if [ $other = $recipe ]; then
            cmp -s "$work/v.told" "$work/v.itself" || fail "embed looks otherwise than $recipe, which the file says"
        else
            cmp -s "$work/v.told" "$work/v.itself" && fail "embed --eval-recipe $other changes nothing of $recipe"
        fi
    done
    vectors state "$work/$recipe/checkpoint_0000.safetensors"
    cmp -s "$work/v.state" "$work/v.itself" || fail "a checkpoint says otherwise than the encoder"
    probe_says $recipe "as the encoder's file says" "$encoder"
done
probe_says simclr-eval "20 pixels: as the encoder's file says" "$encoder" --size 20
probe_says none "as --eval-recipe says" "$encoder" --eval-recipe none

# A file that says nothing: what was done before, with one sentence.
"$BUILD/tests/train/tool_older" "$work/none/encoder.safetensors" "$work/older" || fail "no older file"
vectors eval --eval-recipe eval "$work/none/encoder.safetensors"
vectors older "$work/older"
[ "$(grep -c "older does not say how images are to be looked at" "$work/err")" -eq 1 ] || fail "embed does not say that it guesses"
cmp -s "$work/v.older" "$work/v.eval" || fail "embed looks at an older encoder's images otherwise than before"
probe_says none "the encoder's file says nothing" "$work/older"

# The gallery, made again.
expect 0 "" "$BUILD/examples/train_imagenet" "$work/data" $tiny --eval-recipe simclr-eval --out "$work/g"
cp "$work/g/gallery.json" "$work/before"
sed -i 's/"eval-recipe":"simclr-eval"/"eval-recipe":"none"/' "$work/g/metrics.jsonl" # the file, not the log, is believed
expect 0 "" "$BUILD/examples/report" --gallery "$work/g"
cmp -s "$work/g/gallery.json" "$work/before" || fail "report --gallery looks otherwise than the encoder's file says"

# Wrong names.
expect 1 "nonsense" "$embed" --eval-recipe nonsense "$work/none/encoder.safetensors" "$work/data/test"
expect 1 "nothing at random" "$embed" --eval-recipe moco-v2 "$work/none/encoder.safetensors" "$work/data/test"
exit $failed
