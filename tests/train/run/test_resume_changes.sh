#!/bin/sh
# Going on otherwise than a run began: at a lower rate, for more epochs, without the images that were removed, on another
# machine; by the command that the program prints. And checkpoints whose notes lie, with right hashes.
. "$(dirname "$0")/../judged.sh"
driver=$BUILD/examples/train_imagenet
mkdir "$work/data"
"$BUILD/tests/train/tool_draw" "$work/data" 48 24 || exit 1
tiny="--preset demo --size 16 --batch-size 16 --bn-group-size 8 --moco-k 12 --moco-dim 16 --width 0.125 --threads 1 -p 1
    --knn-every 0 --no-report"
on="--threads 1 -p 1 --knn-every 0 --no-report"
quiet() { ! grep -q "$1" "$work/err" || { fail "$2"; cat "$work/err"; }; }
same() { cmp "$1" "$2" || fail "$1 and $2 differ"; }
steps() { grep '"type":"step"' "$1/metrics.jsonl" | sed 's/.*"step":\([0-9]*\),.*/\1/' | tr '\n' ' '; }
rates() { grep '"type":"step"' "$1/metrics.jsonl" | sed 's/.*"lr":\([0-9.e-]*\),.*/\1/' | tr '\n' ' '; }
whole() { [ "$(steps "$1")" = "$(seq "$2" | tr '\n' ' ')" ] || fail "metrics.jsonl of $1 has the steps $(steps "$1")"; }
note() { "$BUILD/tests/train/tool_note" "$1"; }

# A run that is told to lower its rate, from an earlier checkpoint in another folder, can: and that goes on exactly.
expect 1 "try a lower --lr, from an earlier checkpoint (--resume FILE) in another --out" $driver "$work/data" $tiny --epochs 9 \
    --lr 5e4 --out "$work/high"
expect 0 "goes on with lr 0.01 (was 50000).* from epoch 1 on" $driver "$work/data" $on --lr 0.01 --out "$work/low" \
    --resume "$work/high/checkpoint_0000.safetensors"
grep '"type":"config"' "$work/low/metrics.jsonl" | grep -q '"lr":0.01,.*"changed":"step 3: lr 0.01 (was 50000)"' ||
    fail "metrics.jsonl does not tell of the lower rate"
note "$work/low/checkpoint_0008.safetensors" | grep -q '"changed":"step 3: lr 0.01 (was 50000)".*"lr":0.01,' ||
    fail "the note does not tell of the lower rate"
expect 0 "" $driver "$work/data" $on --lr 0.01 --out "$work/low2" --max-steps 8 --resume "$work/high/checkpoint_0000.safetensors"
expect 0 "" $driver "$work/data" $on --lr 0.01 --out "$work/low2" --resume auto
quiet "goes on with" "the same rate again is told as a change"
"$BUILD/tests/train/tool_note" "$work/low/checkpoint_0004.safetensors" "$work/far.safetensors" \
    "$(note "$work/low/checkpoint_0004.safetensors")" far || fail "tool_note" # too far for any rate to help
expect 1 "first step fails, at whatever rate" $driver "$work/data" $on --lr 0.001 --out "$work/far" --resume "$work/far.safetensors"
# A rate so high that the first epoch leaves nothing to go on from: its state is not saved over the untrained one.
expect 1 "training has diverged.*try a lower --lr, from an earlier checkpoint (--resume FILE) in another --out" $driver \
    "$work/data" $tiny --epochs 9 --lr 3e5 --out "$work/higher"
expect 0 "" $driver "$work/data" $on --lr 0.01 --out "$work/lower" \
    --resume "$work/higher/checkpoint_0000.safetensors"
whole "$work/lower" 27
grep -q "at step 0, with lr 0.01 (was 300000)" "$work/out" || fail "the untrained state is not what the run went on from"
expect 1 "try a lower --lr, from an earlier checkpoint (--resume FILE) in another --out" $driver \
    "$work/data" $tiny --epochs 9 --lr 1e6 --out "$work/highest" # within the first epoch
expect 0 "" $driver "$work/data" $on --lr 0.01 --out "$work/lower2" --resume "$work/highest/checkpoint_0000.safetensors"
same "$work/lower/encoder.safetensors" "$work/lower2/encoder.safetensors"
expect 1 "holds a run already" $driver "$work/data" $on --lr 0.001 --out "$work/low" --resume "$work/high/checkpoint_0000.safetensors"
expect 1 "holds later checkpoints" $driver "$work/data" $on --lr 0.001 --out "$work/low" --resume "$work/low/checkpoint_0004.safetensors"

# On a machine with more or less memory: other groups at once, told in one line, and kept from there on.
expect 0 "" $driver "$work/data" $tiny --epochs 2 --groups-per-launch 1 --max-steps 3 --out "$work/launch"
expect 0 "groups_per_launch was 1 before step 3 and is 2 from there on" $driver "$work/data" $on --groups-per-launch 2 --max-steps 4 \
    --resume auto --out "$work/launch"
grep -q "at step 3, with groups-per-launch 2 (was 1)" "$work/out" || fail "other groups at once are not told"
expect 0 "" $driver "$work/data" $on --resume auto --out "$work/launch"
quiet "groups_per_launch" "the same groups at once again are told as a change"
whole "$work/launch" 6

# More epochs: where the rates that were made are the same, the run is as if it had had them from the start.
steady="$tiny --lr-schedule steps --schedule 4 --lr 0.03"
expect 0 "" $driver "$work/data" $steady --epochs 3 --out "$work/steps"
expect 0 "" $driver "$work/data" $on --epochs 6 --resume auto --out "$work/steps"
quiet "to the bit" "more epochs of a constant rate are warned of"
grep -q "with epochs 6 (was 3)" "$work/out" || fail "more epochs are not told"
expect 0 "" $driver "$work/data" $steady --epochs 6 --out "$work/steps6"
same "$work/steps/encoder.safetensors" "$work/steps6/encoder.safetensors"
whole "$work/steps" 18
[ "$(rates "$work/steps")" = "$(rates "$work/steps6")" ] || fail "the rates of more epochs are $(rates "$work/steps")"
expect 0 "" $driver "$work/data" $tiny --cos --epochs 3 --out "$work/cosine"
expect 0 "goes on with epochs 5 (was 3): .*other rates from epoch 2 on" $driver "$work/data" $on --epochs 5 --resume auto \
    --out "$work/cosine"
whole "$work/cosine" 15
expect 0 "" $driver "$work/data" $tiny --cos --epochs 5 --out "$work/cosine5"
[ "$(rates "$work/cosine" | cut -d ' ' -f 10-)" = "$(rates "$work/cosine5" | cut -d ' ' -f 10-)" ] ||
    fail "the rates behind the change are not those of a cosine of 5 epochs"
expect 2 "is of epoch 5 already; --epochs 2" $driver "$work/data" $on --epochs 2 --resume auto --out "$work/cosine"
expect 2 "made with --moco-t 0.2 and the command line says --moco-t 0.1" $driver "$work/data" $on --moco-t 0.1 --resume auto \
    --out "$work/cosine"
expect 0 "" "$BUILD/examples/report" "$work/cosine" "$work/steps" --out "$work/both.html"
quiet "left out" "report finds lines that it cannot use"
expect 0 "" "$BUILD/examples/report" --csv "$work/cosine"
[ "$(grep -c '^step,' "$work/cosine/metrics.csv")" -eq 15 ] || fail "metrics.csv has not 15 steps"
expect 0 "" "$BUILD/examples/report" "$work/cosine"
grep -q "epochs 5 (was 3)" "$work/cosine/report.html" || fail "the report does not tell of the change"

# Images that are removed: between epochs, and in the middle of one that is longer than what is left; then exact again.
for made in 6 7 8; do
    run=$work/removed$made
    cp -r "$work/data" "$work/less"
    expect 0 "" $driver "$work/data" $tiny --lr-schedule steps --epochs 6 --max-steps $made --out "$run"
    rm "$work"/less/train/1/01*.png "$work/less/train/0/000.png"
    left=$(ls "$work"/less/train/* | grep -c png)
    expect 0 "$left images (were 48), $((left / 16)) steps per epoch: [a-z]" $driver "$work/less" $on --max-steps $((made + 1)) \
        --resume auto --out "$run"
    cp -r "$run" "$run.twice"
    expect 0 "" $driver "$work/less" $on --resume auto --max-steps 0 --out "$run"
    quiet "were 48" "images that were removed before are told again"
    expect 0 "" $driver "$work/less" $on --resume auto --max-steps $((made + 2)) --out "$run.twice"
    expect 0 "" $driver "$work/less" $on --resume auto --max-steps 0 --out "$run.twice"
    same "$run/checkpoint_0005.safetensors" "$run.twice/checkpoint_0005.safetensors"
    whole "$run" "$(steps "$run" | wc -w)"
    [ "$(grep -c '"type":"epoch"' "$run/metrics.jsonl")" -eq 6 ] || fail "the run on fewer images has not 6 epochs"
    expect 0 "" "$BUILD/examples/report" "$run"
    quiet "left out" "report finds lines that it cannot use"
    rm -r "$work/less"
done
cp -r "$work/data" "$work/more" && cp "$work/data/train/0/000.png" "$work/more/train/0/new.png"
expect 1 "made on other images" $driver "$work/more" $on --resume auto --out "$work/cosine"
mkdir "$work/other" && "$BUILD/tests/train/tool_draw" "$work/other" 36 24
for image in "$work"/other/train/*/*.png; do mv "$image" "${image%.png}-other.png"; done
expect 1 "made on other images" $driver "$work/other" $on --resume auto --out "$work/cosine"

# Another machine: one warning, and the log says where it went on. The same machine: none.
sed 's/"threads":1,/"threads":3,/; s/"isa":"[^"]*"/"isa":"abacus"/' "$work/cosine/metrics.jsonl" >"$work/edited"
cp "$work/edited" "$work/cosine/metrics.jsonl"
expect 0 "isa .*(was abacus), 1 compute threads (were 3): .*last bits; --threads 3" $driver "$work/data" $on --epochs 6 \
    --resume auto --out "$work/cosine"
[ "$(grep -c "last bits" "$work/err")" -eq 1 ] || fail "another machine is not told once"
grep '"type":"resume"' "$work/cosine/metrics.jsonl" | tail -n 1 | grep -q '"device":.*"isa":.*"library":.*"threads":1,.*"version":' ||
    fail "the log does not tell on which machine the run went on"
expect 0 "" $driver "$work/data" $on --epochs 7 --resume auto --out "$work/cosine"
quiet "last bits" "the same machine is warned of"
grep -q threads "$work/cosine/checkpoint_0006.safetensors" && fail "a checkpoint tells the threads"

# The command that is printed goes on to the same bits, whatever the paths.
odd="$work/it's a \$folder"
cp -r "$work/data" "$odd"
$driver "$odd" $tiny --epochs 9000 --max-bad 3 --keep 2 --seed 5 --out "$odd run" >"$work/printed" 2>"$work/err" &
pid=$! tries=0
while [ "$(cat "$odd run/metrics.jsonl" 2>/dev/null | grep -c '"type":"step"')" -lt 5 ] && [ $tries -lt 600 ]; do
    sleep 0.1
    tries=$((tries + 1))
done
kill -TERM $pid
wait $pid
made=$(grep -c '"type":"step"' "$odd run/metrics.jsonl")
command=$(sed -n 's/.*go on with: train_imagenet//p' "$work/printed")
for word in "--max-bad 3" "--keep 2" "--threads 1" "--no-report"; do
    case $command in *"$word"*) ;; *) fail "the command to go on with lacks $word: $command" ;; esac
done
eval "expect 0 '' $driver $command --max-steps $((made + 4))"
quiet "last bits" "the command to go on with changes the machine"
expect 0 "" $driver "$odd" $tiny --epochs 9000 --max-bad 3 --keep 2 --seed 5 --max-steps $((made + 4)) --out "$work/odd"
same "$(ls "$odd run"/checkpoint_* | tail -n 1)" "$(ls "$work/odd"/checkpoint_* | tail -n 1)"
[ "$(steps "$odd run")" = "$(steps "$work/odd")" ] || fail "the steps are not those of a run without a break"

# Notes that lie, under right hashes: a sentence, before memory is taken for what they say; `auto` goes to an older one.
good=$work/steps6/checkpoint_0002.safetensors
text=$(note "$good")
lie() { # EDIT [EPOCH POSITION]
    edit=$1
    shift
    "$BUILD/tests/train/tool_note" "$good" "$work/lie.safetensors" "$(printf '%s\n' "$text" | sed "$edit")" "$@" || fail "tool_note $edit"
    (
        ulimit -v 4000000 # kilobytes: what the lies ask for does not fit
        exec $driver "$work/data" $on --resume "$work/lie.safetensors" --out "$work/lied"
    ) >"$work/out" 2>"$work/err"
    status=$?
    [ $status -eq 1 ] && grep -q "lie.safetensors.* cannot be resumed" "$work/err" || { fail "status $status: a note after $edit $*"; cat "$work/err"; }
    [ ! -e "$work/lied/metrics.jsonl" ] || fail "a run was begun by a note after $edit"
}
huge=99999999999999999999999
for value in -1 $huge 9223372036854775807 4 3.5 '"three"' null '{"a":3}' '[3]' ''; do lie "s/\"epoch_steps\":3/\"epoch_steps\":$value/"; done
for value in -1 2 0 '"x"'; do lie "s/\"epoch_done\":1/\"epoch_done\":$value/;s/\"epoch_steps\":3/\"epoch_steps\":0/"; done
for value in NaN nan 1e999 '"nan"' inf '""'; do lie "s/\"epoch_loss\":[^,]*/\"epoch_loss\":$value/"; done
lie 's/"width":0.125/"width":16/'
lie 's/"width":0.125/"width":1e300/'
lie 's/"moco-k":12,/"moco-k":1000000000,/'
lie 's/"moco-k":12,/"moco-k":13,/'
lie 's/"moco-dim":16/"moco-dim":65536/'
lie 's/"size":16/"size":4096/'
lie 's/"batch-size":16/"batch-size":1048576/'
lie 's/"batch-size":16/"batch-size":0/'
lie 's/"bn-group-size":8/"bn-group-size":5/'
lie 's/"arch":"[a-z0-9]*"/"arch":"resnet152"/'
lie 's/"epochs":6/"epochs":-6/'
lie 's/"epochs":6/"epochs":1/'
lie 's/"lr":0.03,//'
lie 's/"lr":0.03/"lr":"0.03x"/'
lie 's/"schedule":"4"/"schedule":"4,3,2,1"/'
lie 's/"data":"[^"]*"/"data":"-5 images"/'
lie 's/"data":"48/"data":"\x1b48/'
lie 's/"data":"[^"]*",//'
lie 's/"epoch_steps":3,//'
lie 's/"program":"[^"]*"/"program":"another"/'
lie 's/"lr":/"\x1b[31m":/'
lie 's/}$/} and more/'
lie 's/}$//'
lie 's/.*//'
lie 's/"lr":0.03/"lr":0.03,"later":1/'
lie 's/x/x/' 0 48
lie 's/x/x/' 9223372036854775807 48
lie 's/x/x/' 2 9223372036854775807
# Of older ones, too, and where a change is claimed that explains anything.
lie 's/"epoch_done"/"changed":"step 3: 48 images (were 64)","epoch_done"/' 2 9223372036854775807
cp -r "$work/steps6" "$work/older"
rm "$work/older/encoder.safetensors"
"$BUILD/tests/train/tool_note" "$work/older/checkpoint_0005.safetensors" "$work/lie.safetensors" "$(printf '%s\n' "$text" | sed 's/"epoch_steps":3/"epoch_steps":4/')"
mv "$work/lie.safetensors" "$work/older/checkpoint_0005.safetensors"
expect 0 "passing over a damaged checkpoint: .*checkpoint_0005.safetensors cannot be resumed" $driver "$work/data" $on --resume auto \
    --out "$work/older"
same "$work/older/encoder.safetensors" "$work/steps6/encoder.safetensors"

# Options that go with the checkpoint's, not with the defaults that they would have stood beside in a new run.
contrast="--preset simclr -a resnet18 --stem small --size 16 --batch-size 16 --moco-dim 16 --width 0.125 --threads 1 --knn-every 0 --no-report"
expect 0 "" $driver "$work/data" $contrast --epochs 3 --warmup-epochs 1 --max-steps 3 --out "$work/contrast"
expect 0 "with warmup-epochs 2 (was 1)" $driver "$work/data" $on --warmup-epochs 2 --resume auto --out "$work/contrast"
expect 2 "made with --batch-size 16 and the command line says --batch-size 8" $driver "$work/data" $on --batch-size 8 \
    --resume auto --out "$work/steps6"
expect 2 "not a multiple of --bn-group-size" $driver "$work/data" $on --batch-size 8 --resume auto --out "$work/none"

# A run that failed before its first save has no options but those of the command line, and the command that is printed
# names them. A limit on file sizes stands for a full disk.
printed() { sed -n 's/.*go on with: train_imagenet //p' "$work/err"; }
expect 1 "not saved; afterwards go on with" sh -c 'ulimit -f 16; "$@"' sh $driver "$work/data" $steady --epochs 3 --out "$work/full"
command=$(printed)
expect 0 "" sh -c "$driver $command"
expect 0 "" $driver "$work/data" $steady --epochs 3 --out "$work/steps3"
same "$work/full/encoder.safetensors" "$work/steps3/encoder.safetensors"
cp -r "$work/steps3" "$work/longer"
rm "$work/longer/encoder.safetensors"
expect 1 "not saved; afterwards go on with" sh -c 'ulimit -f 16; "$@"' sh $driver "$work/data" $on --epochs 6 --resume auto --out "$work/longer"
command=$(printed)
expect 0 "" sh -c "$driver $command"
same "$work/longer/encoder.safetensors" "$work/steps6/encoder.safetensors"
elsewhere="--resume $work/steps3/checkpoint_0001.safetensors --out $work/elsewhere"
expect 1 "nothing is saved in .*remove the metrics.jsonl in it and give the same command again" \
    sh -c 'ulimit -f 16; "$@"' sh $driver "$work/data" $on $elsewhere
rm "$work/elsewhere/metrics.jsonl"
expect 0 "" $driver "$work/data" $on $elsewhere
same "$work/elsewhere/encoder.safetensors" "$work/steps3/encoder.safetensors"

# What a run left is not begun anew over for want of its checkpoints.
cp -r "$work/steps3" "$work/bare"
rm "$work"/bare/checkpoint_*
cp -r "$work/bare" "$work/before"
expect 1 "holds the encoder of a run, and no checkpoint" $driver "$work/data" $steady --resume auto --out "$work/bare"
expect 1 "holds the encoder of a run, and no checkpoint" $driver "$work/data" $steady --out "$work/bare"
diff -r "$work/bare" "$work/before" || fail "a run without checkpoints was written over"
rm "$work/bare/encoder.safetensors" "$work/before/encoder.safetensors"
expect 1 "more than an epoch, whose checkpoints are gone" $driver "$work/data" $steady --resume auto --out "$work/bare"
diff -r "$work/bare" "$work/before" || fail "the log of a run without checkpoints was written over"

# A folder that another run writes is in use, whatever its checkpoints look like just then; and a log that is removed
# under a run is told. Stopped, the run is where it is wanted.
$driver "$work/data" $steady --epochs 100000 --keep 1 --keep-every 0 --out "$work/used" >/dev/null 2>"$work/warned" &
run=$!
waited=0
until ls "$work"/used/checkpoint_*.safetensors >/dev/null 2>&1 || [ $((waited += 1)) -gt 600 ]; do sleep 0.1; done
kill -STOP $run
ln -s "$work/none" "$work/used/checkpoint_999999.safetensors"
expect 1 "in use by another run" $driver "$work/data" $on --resume auto --out "$work/used"
rm "$work/used/metrics.jsonl" "$work/used/checkpoint_999999.safetensors"
kill -CONT $run
waited=0
until grep -q "metrics.jsonl was removed or replaced under this run" "$work/warned" || [ $((waited += 1)) -gt 600 ]; do sleep 0.1; done
kill -TERM $run
wait $run
status=$?
[ $status -eq 75 ] || fail "the run without its log ended with $status"
[ "$(grep -c "was removed or replaced" "$work/warned")" -eq 1 ] || { fail "the removed log is not told once"; cat "$work/warned"; }

# A report that could not be drawn is not named as if it had been.
mkdir -p "$work/undrawn/report.html"
expect 0 "no report.html: .* no regular file" $driver "$work/data" $tiny --report --epochs 1 --out "$work/undrawn"
! grep -q "the report is" "$work/out" || fail "a report is named that was not drawn"
# A run keeps the precision that it began in. Where the machine does not have it, the run goes on in another if that is
# named; one line tells of it, and so do metrics.jsonl and the note. oneDNN plays the machine without bf16.
expect 0 "" $driver "$work/data" $tiny --epochs 3 --max-steps 4 --out "$work/rounded"
if note "$work/rounded/checkpoint_0001.safetensors" | grep -q '"precision":"bf16"'; then
    older="env ONEDNN_MAX_CPU_ISA=AVX2"
    expect 2 "is of a run in bf16, which device cpu does not have here (it has f32); --precision f32 goes on" $older \
        $driver "$work/data" $on --resume auto --out "$work/rounded"
    expect 2 "is of a run in bf16" $older $driver "$work/data" $on --precision auto --resume auto --out "$work/rounded"
    expect 0 "in bf16, which goes on in f32: with other bits from here on" $older $driver "$work/data" $on --precision f32 \
        --resume auto --out "$work/rounded"
    [ "$(grep -c "other bits" "$work/err")" = 1 ] || fail "another precision is told more than once: $(cat "$work/err")"
    grep -q "at step 4, with precision f32 (was bf16)" "$work/out" || fail "another precision is not told"
    grep -q '"changed":"step 4: precision f32 (was bf16)"' "$work/rounded/metrics.jsonl" || fail "metrics.jsonl has no other precision"
    note "$work/rounded/checkpoint_0002.safetensors" | grep -q '"precision":"f32"' || fail "the note has the old precision"
    expect 0 "" $driver "$work/data" $on --epochs 4 --resume auto --out "$work/rounded" # back where bf16 is, it stays f32
    quiet "other bits" "a run that is of f32 by now is told to change"
    note "$work/rounded/checkpoint_0003.safetensors" | grep -q '"precision":"f32"' || fail "the run went back to bf16 by itself"
else
    echo "not tested here: a run of bf16 on a machine without: this CPU has no instructions for it"
fi
expect 2 "does not compute in --precision fp16; it has" $driver "$work/data" $on --precision fp16 --resume auto --out "$work/rounded"
expect 1 "it has f32.*try --precision f32" $driver "$work/data" $tiny --epochs 1 --precision fp16 --out "$work/none"
exit $failed
