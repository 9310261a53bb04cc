#!/bin/bash
# What people met with software like ours, as small inputs that are kept beside the checkout (../shared/cases, or
# MOCO_CASES): each case ends with GOOD. A case that is not expected to yet stands in `not_yet`, and must be taken off
# there when it does. What a reader would get wrong: a case that neither ends with GOOD nor with FAULT has not run, and
# counts as a fault.
set -u
: "${BUILD:=build}" "${MOCO_CASES:=../shared/cases}" "${MOCO_CASE_DEADLINE:=300}"
not_yet=""
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT

run_case() { # FOLDER: good | fault | nothing; what it printed stays in $work/out
    (cd "$work/checkout" && timeout -k 5 "$MOCO_CASE_DEADLINE" bash "$1/cmd.sh") >"$work/out" 2>&1
    local status=$? last
    last=$(tail -n 1 "$work/out")
    case $status:$last in
    0:GOOD*) echo good ;;
    1:FAULT*) echo fault ;;
    *) echo "nothing (status $status)" ;;
    esac
}

lacks() { # FOLDER: what this machine lacks of what the case uses
    grep -qw strace "$1/cmd.sh" && ! strace -o /dev/null true 2>/dev/null && echo strace
    grep -qE '(^|[ ;|(])script -' "$1/cmd.sh" && ! command -v script >/dev/null 2>&1 && echo 'script(1), of bsdutils'
    grep -qE '^build | build "' "$1/cmd.sh" && ! command -v gcc >/dev/null 2>&1 && echo gcc
    local module
    for module in pyte safetensors; do
        grep -qE "(import|from) $module" "$1/cmd.sh" && ! "${PY:-python3}" -c "import $module" 2>/dev/null &&
            echo "a Python with $module"
    done
}

judge() { # FOLDER of cases: a line for each that is not as it should be, and at the end how many were tried
    local folder name verdict missing tried=0
    for folder in "$1"/[0-9]*/; do
        folder=${folder%/} name=$(basename "${folder%/}")
        missing=$(lacks "$folder" | paste -sd, -)
        [ -z "$missing" ] || { echo "SKIPPED: case $name wants $missing"; continue; }
        verdict=$(run_case "$folder")
        tried=$((tried + 1))
        case " $not_yet " in
        *" $name "*) [ "$verdict" = fault ] || echo "BAD $name: it is listed as not expected yet, and is: $verdict" ;;
        *) [ "$verdict" = good ] || { echo "BAD $name: $verdict"; tail -n 6 "$work/out" | sed 's/^/    /' | cut -c1-300; } ;;
        esac
    done
    echo "tried $tried"
}

# ---- the judge itself, on cases that were made up ----
made_up() { # NAME, body of cmd.sh
    mkdir -p "$work/cases/$1" && echo "$2" >"$work/cases/$1/cmd.sh"
}
mkdir "$work/checkout"
made_up 01-good 'echo GOOD: yes'
made_up 02-fault 'echo FAULT: no; exit 1'
made_up 03-says-good-and-fails 'echo GOOD: yes; exit 1'
made_up 04-silent 'exit 0'
made_up 05-hangs 'sleep 30'
made_up 06-crashes 'kill -SEGV $$'
made_up 07-not-yet 'echo FAULT: not yet; exit 1'
made_up 08-not-yet-but-good 'echo GOOD: already'
judged=$(not_yet='07-not-yet 08-not-yet-but-good' MOCO_CASE_DEADLINE=1 judge "$work/cases" | sed -n 's/^\(BAD [0-9]*\|tried.*\).*/\1/p' | paste -sd, -)
[ "$judged" = "BAD 02,BAD 03,BAD 04,BAD 05,BAD 06,BAD 08,tried 8" ] || { echo "the judge is wrong: $judged"; exit 1; }

# ---- the cases, on a copy of what was built: below build/ there may be other builds ----
[ -d "$MOCO_CASES" ] || { echo "SKIPPED: there are no cases in $MOCO_CASES (MOCO_CASES names another folder)"; exit 0; }
cases=$(cd "$MOCO_CASES" && pwd)
mkdir "$work/checkout/build" && cp -r "$BUILD/examples" "$work/checkout/build/" && cp -a "$BUILD"/libmoco.so* "$work/checkout/build/" &&
    ln -s "$PWD/include" "$work/checkout/include" || exit 1
for python in "${MOCO_PEER_PYTHON:-}" "$PWD/$BUILD/peers/bin/python" "$BUILD/peers/bin/python"; do
    [ -n "$python" ] && [ -x "$python" ] && export PY="$python" && break
done
unset OMP_WAIT_POLICY GOMP_SPINCOUNT M
# Cases give themselves a low priority. Where other tests fill the processors, they would then not end.
mkdir "$work/bin" && printf '#!/bin/sh\n[ "$1" = -n ] && shift 2\nexec "$@"\n' >"$work/bin/nice" && chmod +x "$work/bin/nice" || exit 1
export PATH=$work/bin:$PATH
judge "$cases" | tee "$work/judged"
for name in $not_yet; do
    [ -d "$cases/$name" ] || echo "BAD $name: there is no such case to be listed as not expected yet"
done | tee -a "$work/judged"
tried=$(sed -n 's/^tried //p' "$work/judged")
[ "${tried:-0}" -ge 15 ] || echo "SKIPPED: only ${tried:-0} cases were tried"
! grep -q '^BAD' "$work/judged"
