#!/bin/sh
# How compute threads wait: --wait and the environment do what they say, once, and change no bit; what a program is
# started with (arguments, descriptors, signals) survives its starting itself again.
set -u
: "${BUILD:=build}"
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
failed=0
fail() {
    echo "$*"
    failed=1
}
case $BUILD in /*) ;; *) BUILD=$PWD/$BUILD ;; esac
unset OMP_WAIT_POLICY GOMP_SPINCOUNT MOCO_WAIT # of tests/run.sh
demo=$BUILD/examples/demo
mkdir "$work/pictures" && "$BUILD/tests/train/tool_draw" "$work/pictures" 192 24 || exit 1
run() { # name, [VARIABLE=VALUE...] -- ARGUMENT...: the demo's record says how it waits
    name=$1
    shift
    given=
    while [ "$1" != -- ]; do given="$given $1"; shift; done
    shift
    # shellcheck disable=SC2086
    env $given "$demo" "$work/pictures/train" --steps 2 --threads 2 --out "$work/$name" "$@" >"$work/$name.out" 2>&1 ||
        { cat "$work/$name.out"; fail "$name: exit $?"; }
    waits=$(sed -n 's/.*"wait":"\([^"]*\)".*/\1/p' "$work/$name/metrics.jsonl")
}
says() { # name, pattern
    echo "$waits" | grep -qxE "$2" || fail "$1: it says '$waits', not $2"
}
run auto -- && says auto 'auto, [0-9]+ pauses'
run passive -- --wait passive && says passive passive
run active -- --wait active && says active active
run given OMP_WAIT_POLICY=passive -- && says given 'OMP_WAIT_POLICY=passive'
run spins GOMP_SPINCOUNT=77 -- && says spins 'GOMP_SPINCOUNT=77'
run wins OMP_WAIT_POLICY=active -- --wait auto && says wins 'auto, [0-9]+ pauses'
for other in passive active given spins wins; do
    cmp "$work/auto/encoder.safetensors" "$work/$other/encoder.safetensors" || fail "other bits: $other"
done
run one -- --threads 1 && says one 'one thread'
"$demo" --wait often >"$work/out" 2>&1
[ $? -eq 2 ] || fail "--wait often is taken"
grep -q 'auto|active|passive' "$work/out" || fail "the choices are not told"

# Started again once, or not at all where nothing has to change; the same words, argv[0] too, and what was open.
if command -v strace >/dev/null 2>&1 && strace -o "$work/trace" true 2>/dev/null; then
    starts() { # VARIABLE=VALUE... -- ARGUMENT...: how often a program is executed
        strace -f -s 200 -e trace=execve -o "$work/trace" env "$@" >"$work/out" 2>&1
        count=$(grep -c 'execve("[^"]*/\(demo\|embed\|linear_probe\|train_imagenet\|compare\)".* = 0$' "$work/trace")
    }
    cd "$work" || exit 1
    for case in "2 A=1" "1 OMP_WAIT_POLICY=passive" "1 GOMP_SPINCOUNT=5" "2 MOCO_WAIT=auto" "2 MOCO_WAIT=active"; do
        [ "$case" = "2 MOCO_WAIT=active" ] && want=1 || want=${case%% *}
        starts "${case#* }" "$demo" nowhere --threads 2
        [ "$count" -eq "$want" ] || fail "$case: executed $count times"
    done
    starts A=1 "$demo" nowhere --threads 2 --wait active
    [ "$count" -eq 1 ] || fail "--wait active: executed $count times"
    for program in "embed none none" "train_imagenet nowhere" "linear_probe nowhere --pretrained none" "compare nowhere"; do
        # shellcheck disable=SC2086
        starts A=1 "$BUILD"/examples/$program
        [ "$count" -eq 2 ] || fail "$program: executed $count times"
        grep -q "${program%% *}: " out || fail "$program: no sentence of its own: $(cat out)"
    done
    "$BUILD/examples/embed" --wait passive >out 2>&1
    grep -q 'Usage: embed' out || fail "embed --wait passive alone"
    cd - >/dev/null || exit 1
    first=$(sed -n 's/.*execve("[^"]*", \(\[.*\]\),.*= 0$/\1/p' "$work/trace" | sed '/^\["env"/d' | sort -u | wc -l)
    [ "$first" -eq 1 ] || fail "the arguments are not the same both times"
else
    echo "SKIPPED: strace does not run here: how often a program starts was not counted"
fi

# A descriptor that the caller opened, an ignored signal, a blocked one; and started by the dynamic linker, which must not be
# started in its place.
cat >"$work/parent.c" <<'PROGRAM'
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <unistd.h>
int main(int argc, char **argv)
{
    const char *program = argv[1];
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGWINCH);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGHUP, SIG_IGN);
    dup2(open("/dev/null", O_RDONLY), 9);
    argv[1] = (char *)(uintptr_t)"a name";
    execv(program, argv + 1);
    return argc;
}
PROGRAM
"${CC:-cc}" -O1 -o "$work/parent" "$work/parent.c" || exit 1
look() { # VARIABLE=VALUE, the variable to wait for, file: what a running demo has
    rm -rf "$work/long"
    env "$1" "$work/parent" "$demo" "$work/pictures/train" --steps 1000000 --threads 2 --out "$work/long" \
        >"$work/out" 2>&1 &
    pid=$!
    for _ in $(seq 500); do
        [ -e "$work/long/metrics.jsonl" ] && break
        sleep 0.02
    done
    {
        grep -E 'Sig(Blk|Ign)' /proc/$pid/status
        readlink /proc/$pid/fd/9
        cat /proc/$pid/comm
        tr '\0' ' ' </proc/$pid/cmdline
    } >"$3" 2>&1
    tr '\0' '\n' </proc/$pid/environ | grep -q "^$2=" || fail "no $2 in the environment"
    kill -KILL $pid
    wait $pid 2>/dev/null
}
look A=1 MOCO_WAIT "$work/again"
look OMP_WAIT_POLICY=passive OMP_WAIT_POLICY "$work/plain"
cmp "$work/again" "$work/plain" || { cat "$work/again" "$work/plain"; fail "starting again changes what a program has"; }
grep -qx '/dev/null' "$work/again" && grep -qx demo "$work/again" && grep -q '^a name ' "$work/again" ||
    { cat "$work/again"; fail "the check looks at nothing"; }
linker=$(readelf -lW "$demo" | sed -n 's/.*interpreter: \(.*\)\]/\1/p')
"$linker" "$demo" nowhere --threads 2 >"$work/out" 2>&1
grep -q '^demo: ' "$work/out" || { cat "$work/out"; fail "started by $linker"; }
exit $failed
