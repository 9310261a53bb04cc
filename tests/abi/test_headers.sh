#!/bin/sh
# Every public header compiles alone, as C99 to C23 and C++11 to C++23, pedantic, without a warning, and holds none of
# what an ABI cannot promise: static functions, varargs, bool, long, FILE, bit-fields. MOCO_API can be anything.
. "$(dirname "$0")/begin.sh"
mkdir "$work/mpi" && echo 'typedef struct some_mpi *MPI_Comm;' >"$work/mpi/mpi.h" # moco/mpi.h wants no more of an MPI
for cc in "${CC:-cc}" gcc clang; do
    command -v "$cc" >/dev/null 2>&1 || continue
    for std in c99 c11 c17 c2x c++11 c++14 c++17 c++20 c++2b; do
        case $std in c++*) language=c++ ;; *) language=c ;; esac
        for header in include/moco/*.h; do
            name=${header#include/}
            printf '#include <%s>\n#include <%s>\nint moco_test_unit;\n' "$name" "$name" >"$work/unit"
            count=$((count + 1))
            "$cc" -x $language -std=$std -Wall -Wextra -pedantic -Werror -Iinclude -isystem "$work/mpi" -fsyntax-only "$work/unit" || {
                echo "$name does not compile with $cc -std=$std"
                failed=1
            }
        done
    done
done
printf '#define MOCO_API\n#include <moco/moco.h>\n' | "${CC:-cc}" -E -Werror -Iinclude -x c - >"$work/unit" &&
    ! grep -q visibility "$work/unit" || { echo "MOCO_API cannot be defined before libmoco is included"; failed=1; }
for header in include/moco/*.h; do
    # Comments out, then look for words that have no place in the interface.
    sed 's://.*::' "$header" | tr '\n' ' ' | sed 's:/\*[^*]*\*\+\([^/*][^*]*\*\+\)*/: :g' |
        grep -nwE 'static|inline|bool|_Bool|long|FILE|\.\.\.' && { echo "$header: forbidden word above"; failed=1; }
done
# Every function says which threads may call it, in the comment right above it or above its neighbours; what frees a handle
# has a line of its own, since that is done once.
without_threads() { # header
    awk '
    /^\/\*/ { comment = ""; talking = 1 }
    talking { comment = comment $0 "\n"; if (/\*\//) talking = 0; own = 1; next }
    /^$/ { comment = "" }
    /^MOCO_API/ {
        name = $0
        sub(/ *\(.*/, "", name)
        sub(/.*[ *]/, "", name)
        if (comment !~ /Threads:/ || (name ~ /_free$/ && !own)) print name
        own = 0
    }' "$1"
}
for header in include/moco/*.h; do
    [ -z "$(without_threads "$header")" ] || { echo "$header: no Threads: line for" $(without_threads "$header"); failed=1; }
done
sed 's/Threads: any thread may free it.*$/*\//' include/moco/model.h >"$work/planted.h"
[ "$(without_threads "$work/planted.h")" = moco_model_free ] || { echo "a missing Threads: line is not found"; failed=1; }
sed '/^.. Frees the handle/d' include/moco/queue.h >"$work/planted.h"
[ "$(without_threads "$work/planted.h")" = moco_queue_free ] || { echo "a missing comment of a free is not found"; failed=1; }
[ $count -gt 50 ] || { echo "only $count compilations ran"; failed=1; }
echo "$count compilations"
exit $failed
