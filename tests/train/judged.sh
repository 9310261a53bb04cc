# What the scripts of this folder begin with, to be sourced: a folder to work in, failures that are counted, commands that are
# judged. A script ends with `exit $failed`.
set -u
BUILD=${BUILD:-build}
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
failed=0
fail() {
    echo "FAILED: $*"
    failed=1
}
# expect STATUS WORD COMMAND...: exit status, and a sentence on standard error that holds WORD ("": any)
expect() {
    wanted=$1 word=$2
    shift 2
    "$@" >"$work/out" 2>"$work/err"
    status=$?
    [ $status -eq "$wanted" ] || { fail "status $status, not $wanted: $*"; tail -n 3 "$work/out" "$work/err"; }
    [ -z "$word" ] || grep -q -- "$word" "$work/err" || { fail "no \"$word\" on standard error: $*"; cat "$work/err"; }
}
