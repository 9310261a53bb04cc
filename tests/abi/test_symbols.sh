#!/bin/sh
# What libmoco lets out and what it takes in: the shared library exports the linker map's list, no more and no less, the
# headers declare that list, the static library's only global names are those, and no object calls what a library must
# not: printing, ending the process, environment, locale, signals.
. "$(dirname "$0")/begin.sh"

same() { # what, file, other file
    if ! cmp -s "$2" "$3"; then
        echo "$1 differ (< first, > second):"
        diff "$2" "$3" | grep '^[<>]'
        failed=1
    fi
}

sed -n 's/^ *\(moco_[a-z0-9_]*\);$/\1/p' src/api/moco.map >"$work/map.given"
sort -u "$work/map.given" >"$work/map"
same "the linker map and its sorted self" "$work/map.given" "$work/map"

# The preprocessor sees every function of the headers, with the attribute that MOCO_API stands for.
printf '#include "moco/moco.h"\n' >"$work/all.c"
"$CC" -E -P -Iinclude "$work/all.c" | tr '\n' ' ' >"$work/headers"
sed 's/__attribute__((visibility("default")))/\n@/g' "$work/headers" |
    sed -n 's/^@[^(]*[ *]\(moco_[a-z0-9_]*\) *(.*/\1/p' | sort -u >"$work/declared"
same "MOCO_API functions of the headers and the linker map" "$work/declared" "$work/map"
grep -o '\bmoco_[a-z0-9_]* *([^*]' "$work/headers" | sed 's/ *(.$//' | sort -u >"$work/functions"
same "functions of the headers and those that are MOCO_API" "$work/functions" "$work/declared"

nm -D --defined-only "$BUILD/libmoco.so" | awk '$2 != "A" { print $3 }' | sed 's/@.*//' | sort -u >"$work/shared"
same "exports of libmoco.so and the linker map" "$work/shared" "$work/map"
nm -g --defined-only "$BUILD/libmoco.a" | awk 'NF == 3 { print $3 }' | sort -u >"$work/static"
same "global names of libmoco.a and the linker map" "$work/static" "$work/map"
readelf -d "$BUILD/libmoco.so" | grep -q 'SONAME.*\[libmoco\.so\.0\]' || { echo "SONAME is not libmoco.so.0"; failed=1; }

# Two exceptions: pthread_sigmask, not in the list, with which the loader keeps the host's signals away from its own
# threads; and in num.o fesetround, which puts the thread's own mode back after each conversion (unit/lib/test_num.c).
# snprintf writes to memory and is fine; files are written with write(2) or fwrite.
forbidden='printf|vprintf|fprintf|vfprintf|dprintf|vdprintf|puts|fputs|fputc|putc|putchar|perror|psignal|stdout|stderr|stdin'
forbidden="$forbidden|exit|_exit|_Exit|quick_exit|abort|atexit|on_exit|__assert_fail|__assert_rtn|system|fork|vfork|popen|exec[vl]p?e?"
forbidden="$forbidden|getenv|secure_getenv|setenv|unsetenv|putenv|clearenv|environ|setlocale|newlocale|uselocale|localeconv"
forbidden="$forbidden|signal|sigaction|sigprocmask|raise|kill|alarm|setitimer|fesetround|fesetenv|_ZSt9terminatev"
check_calls() { # objects
    for object in "$@"; do
        nm -u "$object" | awk -v o="$object" '{ print $2, o }'
    done | grep -vE '^fesetround(@[^ ]*)? .*/lib/num\.o$' | grep -E "^(__)?($forbidden)(_chk)?(@[^ ]*)? "
}
objects=$(find "$BUILD/obj/lib" "$BUILD/obj/src" -name '*.o')
[ "$(echo "$objects" | wc -l)" -gt 40 ] || { echo "too few objects: is $BUILD built?"; failed=1; }
# shellcheck disable=SC2086
check_calls $objects && { echo "libmoco must not use these"; failed=1; }
for call in 'printf("%d", n)' 'fprintf(stderr, "%d", n)' 'exit(n)' 'abort()' 'getenv("A")' 'setlocale(n, "")' 'signal(n, 0)' \
    'fesetround(n)' 'assert(n)'; do # the check bites
    printf '#include <assert.h>\n#include <fenv.h>\n#include <locale.h>\n#include <signal.h>\n#include <stdio.h>\n#include <stdlib.h>\n' >"$work/bad.c"
    printf 'void bad(int n);\nvoid bad(int n) { (void)n; (void)(%s); }\n' "$call" >>"$work/bad.c"
    [ "$call" = 'exit(n)' ] || [ "$call" = 'abort()' ] && sed -i 's/(void)(\(exit(n)\|abort()\))/\1/' "$work/bad.c"
    [ "$call" = 'assert(n)' ] && sed -i 's/(void)(assert(n))/assert(n)/' "$work/bad.c"
    "$CC" -c -o "$work/bad.o" "$work/bad.c" || { failed=1; continue; }
    check_calls "$work/bad.o" >"$work/found" || { echo "not found in an object that has it: $call"; failed=1; }
done

# Every function can be linked, from C, by its address.
{
    printf '#include <stdio.h>\n#include <moco/moco.h>\ntypedef void (*function)(void);\nstatic const function all[] = {\n'
    sed 's/.*/    (function)&,/' "$work/map"
    printf '};\nint main(void)\n{\n    int there = 0;\n    for (unsigned i = 0; i < sizeof all / sizeof *all; i++)\n'
    printf '        there += all[i] != 0;\n    printf("%%d\\n", there);\n    return 0;\n}\n'
} >"$work/link.c"
"$CC" -Iinclude -o "$work/link" "$work/link.c" -L"$BUILD" -lmoco || failed=1
count=$(LD_LIBRARY_PATH="$BUILD" "$work/link")
[ "$count" = "$(wc -l <"$work/map")" ] || { echo "$count functions could be linked"; failed=1; }
echo "$count functions"
exit $failed
