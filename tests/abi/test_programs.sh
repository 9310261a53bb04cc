#!/bin/sh
# Programs are users of the library: each needs libmoco.so, finds the one beside it, and has nothing of src/ in it. The
# short ones, which are there to be read, use the public headers and nothing else.
. "$(dirname "$0")/begin.sh"

find "$BUILD/obj/src" -name '*.o' -print0 | xargs -0 nm --defined-only -g 2>/dev/null |
    awk 'NF == 3 && $2 ~ /[TDBR]/ && $3 !~ /^moco_/ && $3 !~ /^_Z/ { print $3 }' | sort -u >"$work/inside"
[ "$(wc -l <"$work/inside")" -gt 300 ] || fail "only $(wc -l <"$work/inside") symbols of src/ were found"
look() { # PROGRAM: 1 and why if it breaks the rule
    readelf -d "$1" | grep -q 'NEEDED.*libmoco\.so\.' || { echo "$1 does not need libmoco.so"; return 1; }
    nm --defined-only "$1" | awk 'NF == 3 { print $3 }' | sort -u | comm -12 - "$work/inside" >"$work/both"
    [ ! -s "$work/both" ] || { echo "$1 carries parts of src/: $(head -n 3 "$work/both" | tr '\n' ' ')"; return 1; }
}
count=0
[ -x "$BUILD/examples/sqlite" ] || echo "SKIPPED: the example sqlite is not built (Debian: libsqlite3-dev and g++)"
for source in examples/*.c examples/sqlite.cc; do
    program=$BUILD/examples/$(basename "${source%.*}")
    [ "$source" != examples/sqlite.cc ] || [ -x "$program" ] || continue
    look "$program" || failed=1
    ldd "$program" | grep -q "libmoco.so.* => .*$BUILD/" || fail "$program takes another libmoco.so: $(ldd "$program" | grep libmoco)"
    count=$((count + 1))
done
[ "$count" -gt 5 ] || fail "only $count programs were looked at"
# A test of the inside is what a program must not be.
look "$BUILD/tests/unit/network/test_queue" >/dev/null && fail "test_queue passes for a program: the check sees nothing"

for short in first.c overnight.c sqlite.cc serve.c; do
    allowed=nothing # serve knows its name as a command of moco, and starts as all programs do
    [ $short = serve.c ] && allowed='"support/program_\(name\|start\)\.h"'
    grep -n '#include "' "examples/$short" | grep -v "$allowed" && fail "$short includes more than the public headers"
done
exit $failed
