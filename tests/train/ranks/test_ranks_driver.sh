#!/bin/bash
# The training driver on ranks, by both MPIs: a run of two and of four ranks is that of one process; a run that stopped on
# four goes on on one and on two; a signal to one rank stops and saves all; a rank that is lost ends all with 75, and the
# run goes on; the launcher of another MPI, and one that is none, are refused; a rank on one core is warned of.
. tests/train/judged.sh
. tests/train/ranks/mpi.sh
MPI_DEADLINE=100
mkdir "$work/data" && "$BUILD/tests/train/tool_draw" "$work/data" 96 24 || exit 1
options="--preset demo --arch resnet18 --width 0.125 --size 16 --moco-dim 16 --moco-k 24 --batch-size 16 --bn-group-size 4
    --device ref --epochs 2 --knn-k 5 --lr 0.001 --no-report --threads 1 --workers 1"

# same RUN: its steps are those of the one process, up to the order of sums.
same() {
    python3 - "$work/one/metrics.jsonl" "$1/metrics.jsonl" <<'PYTHON' || fail "$1 is another run than that of one process"
import json, sys
def steps(path):
    lines = [json.loads(line) for line in open(path)]
    return {l["step"]: l for l in lines if "loss" in l and "acc1" in l}
one, other = steps(sys.argv[1]), steps(sys.argv[2])
assert one.keys() == other.keys() and len(one) == 12, (sorted(one), sorted(other))
for step in one:
    for key in ("loss", "acc1", "acc5"):
        a, b = one[step][key], other[step][key]
        assert abs(a - b) <= 1e-6 * (1 + abs(a)), (step, key, a, b)
PYTHON
}
pids() { # of the ranks that write, or read, this folder
    pgrep -f -- "^[^ ]*train_imagenet .*--out $1\$"
}
wait_for() { # what, file, words: until they are in the file
    for i in $(seq 300); do
        grep -q -- "$3" "$2" 2>/dev/null && return 0
        sleep 0.1
    done
    fail "$1: no \"$3\" after 30 s"
    return 1
}

"$BUILD/examples/train_imagenet" "$work/data" $options --out "$work/one" >"$work/out" 2>&1 || fail "one: $(grep -v "^  " "$work/out")"
for flavour in openmpi mpich; do
    mpi_find $flavour || { echo "SKIPPED: no $flavour: $mpi_lack"; continue; }
    home=$work/$flavour
    mpi_module "$home" && mkdir "$home/examples" && cp "$BUILD/examples/train_imagenet" "$home/examples" || exit 1
    program=$home/examples/train_imagenet
    run() { # ranks, status, arguments...
        wanted_ranks=$1 wanted=$2
        shift 2
        mpi_run "$wanted_ranks" "$program" "$work/data" $options "$@" >"$work/out" 2>&1
        status=$?
        [ $status -eq "$wanted" ] || { fail "$flavour: status $status, not $wanted: $*"; tail -n 20 "$work/out"; }
    }
    for ranks in 2 4; do
        run $ranks 0 --out "$home/$ranks"
        same "$home/$ranks"
        grep -q "\"ranks\":$ranks,\"engine\":\"" "$home/$ranks/metrics.jsonl" || fail "$flavour: metrics do not say on how many ranks"
        [ "$(grep -c 'done after 12 steps' "$work/out")" = 1 ] || fail "$flavour: not rank 0 alone speaks: $(grep -v "^  " "$work/out")"
    done

    # Stops within an epoch on four; goes on on two, and ends on one.
    run 4 0 --out "$home/n" --max-steps 3
    run 2 0 --out "$home/n" --resume auto --max-steps 8
    "$program" "$work/data" --out "$home/n" --resume auto --device ref --no-report --threads 1 >"$work/out" 2>&1 || fail "$flavour: $(grep -v "^  " "$work/out")"
    same "$home/n"

    # A signal to the last rank. Rank 0 saves, and all end.
    slow="--epochs 400 --knn-every 0 --print-freq 1000"
    mpi_run 3 "$program" "$work/data" ${options/--epochs 2/} $slow --batch-size 12 --resume auto --out "$home/signal" >"$work/out" 2>&1 &
    runner=$!
    wait_for "$flavour" "$home/signal/metrics.jsonl" '"step":3,'
    kill -USR1 "$(pids "$home/signal" | grep -v "^$runner\$" | tail -n 1)"
    wait $runner
    status=$?
    [ $status -eq 75 ] || fail "$flavour: status $status after a signal to one rank: $(grep -v "^  " "$work/out")"
    ls "$home/signal" | grep -q '^checkpoint_' && grep -q 'and saved' "$work/out" || fail "$flavour: not saved after a signal: $(grep -v "^  " "$work/out")"

    # A rank that is stopped for good: the others name it, rank 0 saves, and the run goes on on two.
    mpi_run 3 "$program" "$work/data" ${options/--epochs 2/} $slow --batch-size 24 --silence 1 --out "$home/lost" >"$work/out" 2>&1 &
    runner=$!
    wait_for "$flavour" "$home/lost/metrics.jsonl" '"step":3,'
    kill -STOP "$(pids "$home/lost" | tail -n 1)"
    wait $runner
    status=$?
    [ $status -eq 75 ] || fail "$flavour: status $status after a lost rank: $(grep -v "^  " "$work/out")"
    [ "$(grep -c "rank 2 ($(hostname)) does not answer" "$work/out")" = 2 ] || fail "$flavour: two ranks do not name the lost one: $(grep -v "^  " "$work/out")"
    grep -q 'start all ranks again with' "$work/out" || fail "$flavour: no word of how to go on: $(grep -v "^  " "$work/out")"
    done_before=$(sed -n 's/.*"step":\([0-9]*\),.*/\1/p' "$home/lost/metrics.jsonl" | tail -n 1)
    run 2 0 --epochs 400 --knn-every 0 --batch-size 24 --resume auto --max-steps $((done_before + 2)) --out "$home/lost"
    grep -q "resumed .* at step $done_before" "$work/out" || fail "$flavour: not from the last step, $done_before: $(grep -v "^  " "$work/out")"
    pids "$home/lost" >/dev/null && fail "$flavour: a rank is left behind"

    # Failures that are the same everywhere are said once, by rank 0.
    run 2 1 --out "$home/2"
    [ "$(grep -c '^train_imagenet: ' "$work/out")" = 1 ] || fail "$flavour: not one sentence: $(grep -v "^  " "$work/out")"

    other=$([ $flavour = openmpi ] && echo mpich || echo openmpi)
    if command -v mpirun.$other >/dev/null; then
        mpi_flavour=$other mpi_launch=mpirun.$other
        run 2 1 --out "$home/wrong"
        grep -q 'started 2 processes, but libmoco_mpi.so was built with .* and sees 1' "$work/out" ||
            fail "$flavour under $other's launcher: $(grep -v "^  " "$work/out")"
        [ -e "$home/wrong" ] && fail "$flavour: two runs of one rank each began"
    fi
done
expect 1 'torchrun started 2 processes' env WORLD_SIZE=2 LOCAL_RANK=1 "$BUILD/examples/train_imagenet" "$work/data" $options --out "$work/torch"
if mpi_find openmpi && [ "$(nproc)" -gt 1 ]; then
    program=$work/openmpi/examples/train_imagenet
    timeout 60 $mpi_launch --bind-to core -np 1 "$program" "$work/data" $options --ranks mpi --dry-run >"$work/out" 2>&1
    grep -q "bound to one of this machine's $(nproc) processors" "$work/out" || fail "one core is not warned of: $(tail -n 5 "$work/out")"
fi
exit $failed
