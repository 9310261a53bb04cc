#!/bin/sh
# The demo learns: at least 85 %, 25 points above the untrained encoder, 15 above raw pixels; with a learning rate of 0 it
# gains less than 3 points over the encoder whose BN statistics have settled (50 steps). One seed here; `for seed in 0 1 2`
# of docs/results.md is the whole claim.
set -u
demo=${BUILD:-build}/examples/demo
out=$(mktemp -d) || exit 1
log=$out/log
trap 'rm -rf "$out"' EXIT
accuracies() { # -> trained raw untrained
    sed -n 's/^demo: kNN accuracy \([0-9.]*\)% (raw pixels \([0-9.]*\)%, untrained encoder \([0-9.]*\)%).*/\1 \2 \3/p' "$log"
}
run() {
    "$demo" "$@" --out "$out/demo" >"$log" 2>&1 || { cat "$log"; exit 1; }
    [ -n "$(accuracies)" ] || { cat "$log"; echo "the demo printed no accuracy"; exit 1; }
    tail -n 1 "$log"
}
run --seed 0
accuracies | awk '{ exit !($1 >= 85 && $1 >= $3 + 25 && $1 >= $2 + 15) }' || { echo "it learnt too little"; exit 1; }
run --seed 0 --lr 0 --steps 50
settled=$(accuracies | cut -d' ' -f1)
run --seed 0 --lr 0 --steps 250
accuracies | awk -v settled="$settled" '{ exit !($1 < settled + 3) }' || { echo "it learns without a learning rate"; exit 1; }
