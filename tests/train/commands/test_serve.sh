#!/bin/sh
# examples/serve: good and malformed requests side by side, in order and by ids, paths and bytes; lines that are too long; the
# end of the input, in the middle of a request too; nobody who reads the answers; SIGTERM, after which what was read is answered.
. "$(dirname "$0")/../judged.sh"
serve=$BUILD/examples/serve
mkdir "$work/data" && "$BUILD/tests/train/tool_draw" "$work/data" 24 40 jpg || exit 1
"$BUILD/examples/train_imagenet" "$work/data/train" --preset demo --size 16 -b 8 --bn-group-size 8 --moco-k 16 --moco-dim 16 --width 0.125 \
    --threads 1 -j 1 --knn-every 0 --no-report --max-steps 1 --out "$work/run" >"$work/out" 2>&1 || { cat "$work/out"; exit 1; }
encoder=$work/run/encoder.safetensors
ls "$work"/data/train/*/*.jpg >"$work/paths"
first=$(head -n 1 "$work/paths")
[ "$(wc -l <"$work/paths")" -eq 24 ] || exit 1

answers() { # what was answered, without the numbers of vectors
    sed 's/ok .*/ok/' "$work/out" | cut -c1-100
}
"$serve" "$encoder" --threads 3 <"$work/paths" >"$work/good" 2>"$work/err" || { cat "$work/err"; fail "good requests: status $?"; }
[ "$(grep -c '^ok ' "$work/good")" -eq 24 ] && [ "$(head -n 1 "$work/good" | wc -w)" -eq 65 ] || fail "24 vectors of 64 numbers are not what was answered"
grep -q 'serve: 24 answers, 0 of them errors, in .*latency in ms: median [0-9.]*, 90 % .*99.9 % .*longest' "$work/err" || { cat "$work/err"; fail "no latencies at the end"; }
[ "$(sort -u "$work/good" | wc -l)" -gt 20 ] || fail "the vectors are all the same"
"$serve" "$encoder" --threads 1 --what projection <"$work/paths" 2>/dev/null | head -n 1 | wc -w | grep -qx 17 || fail "projection: not 16 numbers"

# Errors among good ones, each in its place; the good vectors keep their bits.
cut_file=$work/cut.jpg
head -c 300 "$first" >"$cut_file"
long=$(head -c 70000 /dev/zero | tr '\0' x)
{
    sed -n 1,2p "$work/paths"
    printf '%s\n\n%s\n%s\n%s\na\000b\n' "$work/none.jpg" "$work/paths" "$long" "$work/data"
    sed -n 3p "$work/paths"
    printf '%s\n%s\n?\n' "$cut_file" "$(head -c 65536 /dev/zero | tr '\0' y)"
    sed -n 4p "$work/paths" | tr -d '\n' # the last line has no end
} >"$work/requests"
"$serve" "$encoder" --threads 4 <"$work/requests" >"$work/out" 2>"$work/err" || { cat "$work/err"; fail "bad requests: status $?"; }
answers | sed 's/\(error -[0-9]* [a-z ]*[a-z]\).*/\1/' >"$work/said"
cat >"$work/wanted" <<'SAID'
ok
ok
error -4 it cannot be opened
error -2 an empty request
error -5 it is neither
error -2 a line of more than
error -4 it is not a regular file
error -2 a line with a byte of
ok
error -5 JPEG decoder: Premature end of input file
error -4 it cannot be opened
ok
SAID
diff "$work/wanted" "$work/said" || { answers; fail "other answers than wanted (<)"; }
grep '^ok' "$work/out" >"$work/oks" && head -n 4 "$work/good" | cmp - "$work/oks" || fail "vectors beside bad pictures have other bits"
[ "$(grep -c 'answers, .* of them errors' "$work/err")" -eq 2 ] || { cat "$work/err"; fail "a line ? tells nothing"; }

# Bytes, with ids, in any order; a size that is too large is passed over, and an end in the middle is told.
{
    n=0
    while read -r path; do
        n=$((n + 1))
        printf 'p%s %s\n' $n "$(wc -c <"$path")"
        cat "$path"
    done <"$work/paths"
    printf 'empty 0\nshort 3\nabclarge 5000\n'
    head -c 5000 /dev/zero
    printf '\nlast 50\nno'
} >"$work/requests"
"$serve" "$encoder" --bytes --ids --threads 4 --max-bytes 4999 <"$work/requests" >"$work/out" 2>"$work/err"
[ $? -eq 1 ] || { cat "$work/err"; fail "bytes: a line without a number is no status 1"; }
grep -q '^- error -2 an empty request' "$work/out" || { answers; fail "an empty line between bytes"; }
sed -i 's/^p\([0-9]*\) /\1 /' "$work/out"
sort -n "$work/out" | sed -n 's/^[0-9]* ok/ok/p' | cmp - "$work/good" || fail "bytes have other vectors than files"
for answer in 'empty error -5' 'short error -5' 'large error -2 5000 bytes, and --max-bytes is 4999'; do
    grep -q "^$answer" "$work/out" || { answers; fail "no \"$answer\""; }
done
printf '9\nabc' | "$serve" "$encoder" --bytes >"$work/out" 2>"$work/err" && grep -q '^error -4 the input ended after 3 of 9 bytes' "$work/out" ||
    { cat "$work/out" "$work/err"; fail "an end in the middle of bytes"; }
printf 'x\nabc\n' | "$serve" "$encoder" --bytes >"$work/out" 2>"$work/err"
[ $? -eq 1 ] && grep -q '^error -2 not a number' "$work/out" || { cat "$work/out"; fail "no number of bytes"; }
"$serve" "$encoder" </dev/null >"$work/out" 2>"$work/err" && [ ! -s "$work/out" ] || fail "no request: status $?"

# Nobody reads the answers.
mkfifo "$work/in" "$work/answers"
(while :; do cat "$work/paths" || exit; done) 2>/dev/null | { "$serve" "$encoder" 2>"$work/err"; echo $? >"$work/status"; } | head -n 3 >"$work/out"
[ "$(cat "$work/status")" = 1 ] && grep -q 'standard output: Broken pipe' "$work/err" && [ "$(wc -l <"$work/out")" -eq 3 ] ||
    { cat "$work/status" "$work/err"; fail "a closed pipe"; }

# SIGTERM while it waits for more: what was read is answered, what is half a line is not, and the status is 0.
for signal in TERM INT; do
    "$serve" "$encoder" <"$work/in" >"$work/out" 2>"$work/err" &
    pid=$!
    exec 3>"$work/in"
    cat "$work/paths" >&3
    printf 'half' >&3
    for _ in $(seq 400); do
        [ "$(wc -l <"$work/out")" -ge 5 ] && break
        sleep 0.05
    done
    kill -$signal $pid
    wait $pid || { cat "$work/err"; fail "SIG$signal: status $?"; }
    exec 3>&-
    cmp "$work/good" "$work/out" || fail "SIG$signal: not all that was read was answered"
done

expect 2 'which encoder' "$serve"
expect 2 'no option' "$serve" "$encoder" --threads 0
expect 2 'no option' "$serve" "$encoder" second
expect 1 'none' "$serve" "$work/none"
expect 1 'safetensors' "$serve" "$first"
"$serve" --help | head -n 1 | grep -q '^Usage: serve ENCODER' || fail "--help"
exit $failed
