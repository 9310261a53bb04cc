#!/bin/sh
# Runs each test program or script under a deadline; prints its output only if it failed or skipped, and one closing line.
# A test says "SKIPPED: reason" on a line of its own; with MOCO_TEST_REQUIRE=1 a skip is a failure. What no installation
# could bring, the CPU lacking an instruction set, it says as "not tested here: what": shown, and no failure anywhere.
set -u
: "${BUILD:=build}" "${MOCO_TEST_DEADLINE:=600}"
export BUILD
# A team of threads that spins while it waits takes the cores from the threads it waits for: on a busy machine tests get
# ten times slower. A policy that the host has set wins.
export OMP_WAIT_POLICY="${OMP_WAIT_POLICY:-passive}"
passed=0 failed=0 skipped=0 total_start=$(date +%s)
log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT
for test in "$@"; do
    start=$(date +%s)
    timeout -k 10 "$MOCO_TEST_DEADLINE" "$test" >"$log" 2>&1
    status=$?
    seconds=$(($(date +%s) - start))
    reason=$(grep -a '^SKIPPED: ' "$log" | head -n 3)
    if [ $status -ne 0 ]; then
        failed=$((failed + 1))
        [ $status -ge 124 ] && echo "deadline or signal: status $status"
        echo "FAIL $test (${seconds} s, status $status)"
        tail -c 6000 "$log"
    elif [ -n "$reason" ]; then
        skipped=$((skipped + 1))
        echo "skip $test (${seconds} s)"
        echo "$reason"
    else
        passed=$((passed + 1))
        echo "ok   $test (${seconds} s)"
        grep -a '^not tested here: ' "$log" | sort -u
    fi
done
echo "seconds: $(($(date +%s) - total_start))"
echo "$passed passed, $failed failed, $skipped skipped"
[ "${MOCO_TEST_REQUIRE:-0}" = 1 ] && [ $skipped -gt 0 ] && { echo "skips are failures here (MOCO_TEST_REQUIRE=1)"; exit 1; }
[ $failed -eq 0 ] && [ $passed -gt 0 ]
