# What the scripts of this folder begin with, to be sourced: what builds, a folder to work in, failures that are counted. A script
# ends with `exit $failed`.
set -u
: "${BUILD:=build}" "${CC:=cc}" "${CXX:=c++}"
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
failed=0 count=0
fail() {
    echo "$*"
    failed=1
}
