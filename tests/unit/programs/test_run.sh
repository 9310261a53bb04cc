#!/bin/bash
# SPDX-License-Identifier: MIT
# tests/run.sh, by which all tests are run: what passed, failed, skipped or hung is counted, shown once and decides the status, with
# one test at a time and with several; and several do run at once.
set -u
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
mkdir "$work/tests"
program() { # NAME LINES
    printf '#!/bin/sh\n%s\n' "$2" >"$work/tests/$1" && chmod +x "$work/tests/$1"
}
program good 'echo "not seen"'
program odd 'echo "not tested here: a thing"'
program bad 'echo "what went wrong"; exit 3'
program lacking 'echo "SKIPPED: no such package"'
program hung 'sleep 60'
program waits "touch '$work/one'; for i in \$(seq 100); do [ -e '$work/two' ] && exit 0; sleep 0.1; done; exit 1"
program meets "touch '$work/two'; for i in \$(seq 100); do [ -e '$work/one' ] && exit 0; sleep 0.1; done; exit 1"
failures=0
is() { # JOBS STATUS COUNTS TEST...
    local jobs=$1 status=$2 counts=$3 got
    shift 3
    MOCO_TEST_JOBS=$jobs MOCO_TEST_DEADLINE=${deadline:-20} tests/run.sh "${@/#/$work/tests/}" >"$work/said" 2>&1
    got=$?
    [ $got = "$status" ] && [ "$(tail -n "${lines:-1}" "$work/said" | head -n 1)" = "$counts" ] && return
    echo "FAILED: $* with $jobs at once: status $got: $(cat "$work/said")"
    failures=$((failures + 1))
}
sees() { # TIMES PATTERN
    [ "$(grep -c "$2" "$work/said")" = "$1" ] && return
    echo "FAILED: '$2' not seen $1 times: $(cat "$work/said")"
    failures=$((failures + 1))
}
unset MOCO_TEST_REQUIRE
for jobs in 1 4; do
    is $jobs 0 "2 passed, 0 failed, 0 skipped" good odd
    sees 0 "not seen"
    sees 1 "^not tested here: a thing"
    is $jobs 1 "2 passed, 1 failed, 1 skipped" good bad lacking odd
    sees 1 "^what went wrong"
    sees 1 "^FAIL .*bad (.* s of processors, status 3)"
    sees 1 "^SKIPPED: no such package"
    deadline=1 is $jobs 1 "1 passed, 1 failed, 0 skipped" hung good
    sees 1 "^deadline or signal: status 124"
    is $jobs 0 "1 passed, 0 failed, 1 skipped" good lacking
    MOCO_TEST_REQUIRE=1 lines=2 is $jobs 1 "1 passed, 0 failed, 1 skipped" good lacking
    is $jobs 1 "0 passed, 0 failed, 0 skipped"
    is $jobs 1 "0 passed, 1 failed, 0 skipped" "not there"
done
is 2 0 "2 passed, 0 failed, 0 skipped" waits meets
[ $failures -eq 0 ]
