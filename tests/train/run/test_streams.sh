#!/bin/sh
# What whoever starts a program does to it: standard streams closed, full or without a reader, and the signals that ask
# it to stop. No run is lost, nothing is printed into its files.
. "$(dirname "$0")/../judged.sh"
driver=$BUILD/examples/train_imagenet
mkdir "$work/data"
"$BUILD/tests/train/tool_draw" "$work/data" 48 24 || exit 1
mkdir "$work/many" && "$BUILD/tests/train/tool_draw" "$work/many" 192 24 || exit 1 # as the demo wants them
tiny="--preset demo --size 16 --batch-size 16 --bn-group-size 8 --moco-k 40 --moco-dim 16 --width 0.125 --threads 1 -p 1
    --no-report"
want() { # STATUS WANTED WHAT
    [ "$1" -eq "$2" ] || { fail "status $1, not $2: $3"; cat "$work/err"; }
}
only_json() {
    [ "$(grep -c . "$1/metrics.jsonl")" -eq "$(grep -c '^{"type":.*}$' "$1/metrics.jsonl")" ] ||
        fail "$1/metrics.jsonl has lines that are no JSON objects"
}

# Streams closed, each and all: what is opened first does not become one of them.
"$driver" "$work/data" $tiny --epochs 2 --out "$work/all" <&- >&- 2>&-
want $? 0 "no standard stream"
only_json "$work/all"
"$driver" "$work/data" $tiny --epochs 2 --tensorboard --out "$work/out" 2>"$work/err" >&-
want $? 0 "no standard output"
only_json "$work/out"
cp -r "$work/data" "$work/bad" && echo "no picture" >"$work/bad/train/0/000.png"
"$driver" "$work/bad" $tiny --epochs 2 --out "$work/errors" >"$work/printed" 2>&- # its warning goes there
want $? 0 "no standard error"
only_json "$work/errors"
cmp "$work/all/encoder.safetensors" "$work/out/encoder.safetensors" || fail "the encoder depends on the streams"
"$BUILD/examples/report" "$work/all" <&- >&- 2>&-
want $? 0 "report without streams"
grep -q '</html>' "$work/all/report.html" && ! grep -q '^/.*report.html$' "$work/all/report.html" || fail "report.html is spoilt"
"$BUILD/examples/report" --csv "$work/all" <&- >&- 2>&-
want $? 0 "report --csv without streams"
[ "$(cut -d , -f 1 "$work/all/metrics.csv" | sort | uniq -c | tr -s ' \n' ' ')" = " 3 epoch 6 step 1 type " ] ||
    fail "metrics.csv is spoilt"
encoder=$work/all/encoder.safetensors
"$BUILD/examples/linear_probe" "$work/data" --pretrained "$encoder" --threads 1 --fast --epochs 2 --out "$work/probe" \
    <&- >&- 2>&-
want $? 0 "linear_probe without streams"
[ "$(head -c 12 "$work/probe/probe.json")" = '{"protocol":' ] || fail "probe.json is spoilt"
"$BUILD/examples/demo" "$work/many/train" --steps 2 --threads 1 --out "$work/demo" <&- >&- 2>&-
want $? 0 "demo without streams"
only_json "$work/demo"
mkdir -p "$work/undrawn/report.html"
"$BUILD/examples/demo" "$work/many/train" --steps 2 --threads 1 --out "$work/undrawn" >"$work/printed" 2>"$work/err"
want $? 0 "demo without a report"
grep -q "the encoder is" "$work/printed" && ! grep -q "the report" "$work/printed" || fail "a report is named that was not drawn"
picture=$work/data/train/0/000.png
"$BUILD/examples/show_views" "$picture" "$work/one.png" --views 4 --size 32 >"$work/printed" && \
    "$BUILD/examples/show_views" "$picture" "$work/two.png" --views 4 --size 32 <&- >&- 2>&-
want $? 0 "show_views without streams"
cmp "$work/one.png" "$work/two.png" || fail "show_views draws something else without streams"
"$BUILD/examples/inspect" "$encoder" >"$work/printed" 2>"$work/err" && "$BUILD/examples/inspect" "$encoder" <&- >&- 2>&-
want $? 0 "inspect without streams"
for program in train_imagenet linear_probe embed demo compare report show_views inspect; do
    "$BUILD/examples/$program" --help >"$work/printed" 2>"$work/err"
    want $? 0 "$program --help"
    grep -q "^Usage: $program" "$work/printed" && [ ! -s "$work/err" ] || fail "the help of $program"
done

# What is written takes nobody's place: not the picture's by another name, nor that of a link or a device.
cp "$picture" "$work/own.png" && ln "$work/own.png" "$work/twin.png" && ln -s no/folder "$work/link.png"
"$BUILD/examples/show_views" "$work/own.png" "$work/twin.png" >"$work/printed" 2>"$work/err"
want $? 2 "show_views over its picture"
cmp "$picture" "$work/own.png" || fail "show_views wrote over its picture"
"$BUILD/examples/show_views" "$work/own.png" "$work/link.png" >"$work/printed" 2>"$work/err"
want $? 1 "show_views to nowhere"
[ -h "$work/link.png" ] || fail "show_views removed a link that it could not write to"
(
    ulimit -f 1 # as a disk that is full: the file that was there stays, if cut
    "$BUILD/examples/show_views" "$work/own.png" "$work/one.png" >"$work/printed" 2>"$work/err"
)
want $? 1 "show_views without room"
[ -e "$work/one.png" ] || fail "show_views removed what it could not write"

# Names that hold a tab, a line end or what a terminal obeys are one field of one line.
odd=$(printf 'a\tb\nc\033[31m.png')
mkdir "$work/odd" && cp "$picture" "$work/odd/$odd" && echo bad >"$work/odd/x$odd"
"$BUILD/examples/embed" "$encoder" "$work/odd" >"$work/printed" 2>"$work/err"
want $? 0 "embed of an odd name"
[ "$(grep -c . "$work/printed")" -eq 1 ] && grep -q 'a\\tb\\nc\\x1b\[31m.png' "$work/printed" || fail "an odd name among embed's lines"
grep -q 'xa\\tb\\nc\\x1b\[31m.png, cannot be read' "$work/err" || { fail "an odd name in a sentence"; cat "$work/err"; }
[ "$(LC_ALL=C tr -d '\011\012\040-\176' <"$work/printed" | wc -c)" -eq 0 ] || fail "control characters are printed by embed"
header='{"a\u001b[31m\nb":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}  '
printf "\\$(printf %o ${#header})\\0\\0\\0\\0\\0\\0\\0" >"$work/odd.safetensors"
printf '%s\0\0\0\0' "$header" >>"$work/odd.safetensors"
"$BUILD/examples/inspect" "$work/odd.safetensors" >"$work/printed" 2>"$work/err"
want $? 0 "inspect of an odd name"
grep -q 'a\\x1b\[31m\\nb' "$work/printed" || { fail "an odd name among inspect's lines"; cat "$work/printed"; }

# A reader that goes away, and a disk that is full: the run is whole. What is for a pipe only says that it was cut.
{
    "$driver" "$work/data" $tiny --epochs 40 --knn-every 0 --keep 1 --out "$work/pipe" 2>"$work/err"
    echo $? >"$work/status"
} | head -n 1 >/dev/null
want "$(cat "$work/status")" 0 "train_imagenet | head"
grep -q "did not all arrive" "$work/err" || fail "nothing is said of the output that was lost"
[ "$(grep -c '"type":"step"' "$work/pipe/metrics.jsonl")" -eq 120 ] || fail "the run behind a pipe is not whole"
"$driver" "$work/data" $tiny --epochs 1 --out "$work/full" >/dev/full 2>"$work/err"
want $? 0 "train_imagenet >/dev/full"
"$BUILD/examples/embed" "$encoder" "$work/data/train" >/dev/full 2>"$work/err"
want $? 1 "embed >/dev/full"
grep -q "cannot be written" "$work/err" || fail "embed does not say that its output is lost"

# Signals: each is saved, and going on gives what a run without a break gives.
wait_for_steps() { # FOLDER STEPS
    tries=0
    while [ "$(cat "$1/metrics.jsonl" 2>/dev/null | grep -c '"type":"step"')" -lt "$2" ] && [ $tries -lt 600 ]; do
        sleep 0.1
        tries=$((tries + 1))
    done
}
endless="$tiny --epochs 9000 --knn-every 0 --keep 2"
for signal in HUP USR1; do
    "$driver" "$work/data" $endless --out "$work/$signal" >"$work/printed" 2>"$work/err" &
    pid=$!
    wait_for_steps "$work/$signal" 5
    kill -$signal $pid
    kill -$signal $pid # a terminal that is closed sends it twice
    wait $pid
    want $? 75 "SIG$signal"
    grep -q "and saved; go on with: train_imagenet" "$work/printed" || fail "nothing is said of going on after SIG$signal"
done
(
    trap '' HUP # as nohup does
    exec "$driver" "$work/data" $endless --out "$work/nohup" >"$work/printed" 2>"$work/err"
) &
pid=$!
wait_for_steps "$work/nohup" 2
kill -HUP $pid
now=$(grep -c '"type":"step"' "$work/nohup/metrics.jsonl")
wait_for_steps "$work/nohup" $((now + 3))
kill -TERM $pid
wait $pid
want $? 75 "SIGTERM behind a SIGHUP that is ignored"
[ "$(grep -c '"type":"step"' "$work/nohup/metrics.jsonl")" -ge $((now + 3)) ] || fail "nohup's run was ended by SIGHUP"
"$BUILD/examples/linear_probe" "$work/data" --pretrained "$encoder" --threads 1 --epochs 50000 --out "$work/probe2" \
    >"$work/printed" 2>"$work/err" &
pid=$! tries=0
while [ ! -s "$work/probe2/probe_state.safetensors" ] && [ $tries -lt 600 ]; do
    sleep 0.1
    tries=$((tries + 1))
done
kill -HUP $pid
wait $pid
want $? 75 "linear_probe, SIGHUP"
"$BUILD/examples/demo" "$work/many/train" --steps 100000 --threads 1 --out "$work/demo2" >"$work/printed" 2>"$work/err" &
pid=$!
wait_for_steps "$work/demo2" 2
kill -HUP $pid
wait $pid
want $? 75 "demo, SIGHUP"
[ -s "$work/demo2/encoder.safetensors" ] || fail "a demo that is stopped keeps no encoder"
[ ! -c /dev/full ] || {
    "$BUILD/examples/inspect" "$encoder" >/dev/full 2>"$work/err"
    want $? 1 "inspect to a full disk"
    for program in train_imagenet linear_probe embed demo compare report show_views inspect; do
        "$BUILD/examples/$program" --help >/dev/full 2>"$work/err"
        want $? 1 "$program --help to a full disk"
        grep -q "$program: what it prints cannot be written" "$work/err" || fail "$program --help does not say that it is lost"
    done
}
exit $failed
