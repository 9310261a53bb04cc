# What scripts begin with that plant faults in the sources, to be sourced with $tree set: each mutant is an edit of a copy of the
# tree there, built without oneDNN. `program` is the test that is built, `judge` runs it: 0: passed; 1: it found the fault; 2:
# anything else. An edit that no longer changes its file, or no longer compiles, is a failure: it cannot rot in silence.
set -u
unset MAKEFLAGS MFLAGS MAKEOVERRIDES MAKELEVEL BUILD SAN
mkdir -p "$tree" && rm -rf "$tree/include" "$tree/lib" "$tree/src" "$tree/tests" &&
    cp -pR Makefile include lib src tests docs "$tree/" || exit 1
cd "$tree" || exit 1
# What an earlier run left mutated is built again.
rm -rf build/obj/src/algo build/obj/src/backend build/obj/src/api build/libmoco_internal.a build/tests
log=$PWD/log
failed=0 count=0

build_test() {
    make -s -j2 ONEDNN=0 WERROR=0 BUILD=build CFLAGS="-O2 -w" "build/tests/$program" >"$log" 2>&1
}

mutant() { # name, files, sed expressions
    name=$1 files=$2
    shift 2
    count=$((count + 1))
    verdict=
    for file in $files; do
        cp "$file" "original.$(basename "$file")"
        sed "$@" "original.$(basename "$file")" >"$file"
        cmp -s "original.$(basename "$file")" "$file" && verdict="NO EDIT: the pattern is not in $file any more"
    done
    if [ -n "$verdict" ]; then
        :
    elif ! build_test; then
        verdict="does not compile"
        cat "$log"
    else
        judge
        case $? in
        0) verdict="SURVIVED" ;;
        1) verdict=killed ;;
        *) verdict="stopped without a verdict"
           tail -n 20 "$log" ;;
        esac
    fi
    [ "$verdict" = killed ] || failed=$((failed + 1))
    echo "$name: $verdict$(remark)"
    for file in $files; do
        cp "original.$(basename "$file")" "$file" # with a new date: make builds it again
    done
}

all_killed() {
    echo "$count mutants, $failed not killed"
    [ $failed -eq 0 ]
}
