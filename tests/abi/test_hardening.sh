#!/bin/sh
# What is built is hardened: position-independent programs, full RELRO, no executable stack, stack protectors, checked
# calls of the C library; and it stays so whatever flags a packager gives. What a reader would get wrong: a flag that
# stands in a Makefile may still get lost, so files are read here, and command lines as make would run them.
. "$(dirname "$0")/begin.sh"

# ---- linked files ----
linked() { # FILE...: what is missing in each, a line
    for file in "$@"; do
        readelf -hlWd "$file" >"$work/elf" || { echo "$file: readelf cannot read it"; continue; }
        grep -q '^ *Type: *DYN' "$work/elf" || echo "$file: not position-independent"
        grep -q 'GNU_RELRO' "$work/elf" || echo "$file: no RELRO"
        grep -qE 'BIND_NOW|FLAGS_1.*NOW' "$work/elf" || echo "$file: bound lazily, so that RELRO is partial"
        grep 'GNU_STACK' "$work/elf" >"$work/stack" || echo "$file: says nothing about its stack"
        grep -q 'RWE' "$work/stack" && echo "$file: executable stack"
        grep -q 'TEXTREL' "$work/elf" && echo "$file: text relocations"
        nm -D -u "$file" | grep -q '__stack_chk_fail' || echo "$file: no stack protector"
    done
}
programs=$(find "$BUILD/examples" -maxdepth 1 -type f -perm -u+x)
[ "$(echo "$programs" | wc -l)" -ge 5 ] || fail "too few programs: is $BUILD built?"
# shellcheck disable=SC2086
linked "$BUILD/libmoco.so" $programs >"$work/found"
[ -s "$work/found" ] && { cat "$work/found"; failed=1; }

# ---- objects, which the archive holds: whoever uses one of these calls uses the checked one. snprintf is no such call: the
# compiler leaves it as it is where it sees that the text fits ----
checked='vsnprintf|printf|fprintf|vfprintf|vprintf|dprintf|longjmp'
plain() { # OBJECT...: plain calls, where a checked one exists
    nm -u -A "$@" | sed -n -E "s/^(.*):? +U ($checked)(@.*)?\$/\1 \2, unchecked/p"
}
objects=$(find "$BUILD/obj/lib" "$BUILD/obj/src" "$BUILD/obj/examples" -name '*.o')
# shellcheck disable=SC2086
plain $objects "$BUILD/libmoco.a" >"$work/found"
[ -s "$work/found" ] && { cat "$work/found"; failed=1; }
for file in "$BUILD/libmoco.a" "$BUILD/libmoco_internal.a"; do
    nm -u "$file" | grep -q '__stack_chk_fail' || fail "$file: no stack protector"
    nm -u "$file" | grep -q '__snprintf_chk' || fail "$file: no checked calls"
done
# shellcheck disable=SC2086
count=$(nm -u -A $objects | grep -c ' U __v*snprintf_chk')
[ "$count" -ge 20 ] || fail "only $count objects have checked calls of snprintf"
# shellcheck disable=SC2086
protected=$(nm -u -A $objects | grep -c '__stack_chk_fail')
[ "$protected" -ge 80 ] || fail "only $protected objects have stack protectors"
# Tests stand in for system calls by their names (--wrap): a checked variant would slip past them. No test links the
# main file of a program.
nm -u -A $(echo "$objects" | grep -v "^$BUILD/obj/examples/[^/]*$") | grep -E ' U (__pread_chk|__read_chk|__open(at)?(64)?_2)' >"$work/found" &&
    { cat "$work/found"; fail "--wrap does not reach the calls above"; }

# ---- the checks bite ----
cat >"$work/soft.c" <<'PROGRAM'
#include <stdio.h>
int main(int argc, char **argv)
{
    char text[64];
    snprintf(text, sizeof text, "%d %s", argc, argv[0]);
    return printf("%s %d\n", text, argc) < 0;
}
PROGRAM
"$CC" -O0 -U_FORTIFY_SOURCE -fno-stack-protector -fno-pie -no-pie -Wl,-z,norelro,-z,lazy,-z,execstack -o "$work/soft" \
    "$work/soft.c" 2>/dev/null
found=$(linked "$work/soft" | wc -l)
[ "$found" -ge 5 ] || fail "only $found faults found in a program that has five"
"$CC" -O2 -U_FORTIFY_SOURCE -c -o "$work/soft.o" "$work/soft.c"
[ "$(plain "$work/soft.o" | wc -l)" -eq 1 ] || fail "unchecked calls are not found in an object that has them"

# ---- a packager's flags come on top ----
lines() { # ARGUMENT...: the command lines of a build, one each
    MAKEFLAGS='' make -n BUILD="$work/none" "$@" all 2>&1 | sed -e ':a' -e '/\\$/N; s/\\\n//; ta' | grep -v '^printf'
}
hardened() { # what, file with lines: compiling ones and linking ones
    compiled=$(grep -cE -- ' -c [^ ]+\.(c|cc) -o ' "$2")
    [ "$compiled" -ge 100 ] || fail "$1: only $compiled objects would be compiled"
    grep -E -- ' -c [^ ]+\.(c|cc) -o ' "$2" | grep -vc -- '-fstack-protector-strong.* -D_FORTIFY_SOURCE=[23]' |
        grep -qx 0 || fail "$1: objects without -fstack-protector-strong and _FORTIFY_SOURCE"
    grep -E -- '-o [^ ]+/(examples/[a-z_]+|libmoco\.so[0-9.]*) ' "$2" >"$work/links"
    [ "$(wc -l <"$work/links")" -ge 5 ] || fail "$1: only $(wc -l <"$work/links") links"
    grep -vc -- '-z,relro,-z,now' "$work/links" | grep -qx 0 || fail "$1: links without relro and now"
}
lines >"$work/plain"
hardened "as it comes" "$work/plain"
lines CFLAGS='-O3 -g1' CXXFLAGS='-O2' CPPFLAGS='-DPACKAGER' LDFLAGS='-Wl,--as-needed' >"$work/given"
hardened "with a packager's flags" "$work/given"
for flag in -g1 -DPACKAGER --as-needed; do
    grep -q -- "$flag" "$work/given" || fail "the packager's $flag is lost"
done
grep -q -- '-D_FORTIFY_SOURCE=[23].*-D_FORTIFY_SOURCE' "$work/given" && fail "_FORTIFY_SOURCE twice"
# A packager's own level is the one; without optimisation the C library would warn, which is an error here.
lines CPPFLAGS='-D_FORTIFY_SOURCE=2' | grep -- '-D_FORTIFY_SOURCE=.*-D_FORTIFY_SOURCE=' | head -n 1 | grep . &&
    fail "_FORTIFY_SOURCE is given twice"
lines CFLAGS='-O0 -g' CXXFLAGS='-O0 -g' | grep -- '-D_FORTIFY_SOURCE' | head -n 1 | grep . && fail "_FORTIFY_SOURCE at -O0"
lines SAN=address,undefined CFLAGS='-O1 -g' LDFLAGS='-Wl,--as-needed' >"$work/san"
grep -q -- '-D_FORTIFY_SOURCE' "$work/san" && fail "_FORTIFY_SOURCE under a sanitizer"
grep -E -- '-o [^ ]+/examples/demo ' "$work/san" | grep -q -- '-fsanitize=address,undefined.*--as-needed' ||
    fail "given LDFLAGS take the sanitizer away"

# ---- other flags are another build, the same flags none ----
one=$work/tree/obj/lib/num.o
build_one() { MAKEFLAGS='' make BUILD="$work/tree" "$@" "$one" >"$work/log" 2>&1 || { tail -n 5 "$work/log"; fail "make $*"; }; }
build_one
build_one
grep -q -- ' -o ' "$work/log" && fail "built again though nothing changed"
build_one CFLAGS="-O1 -DX='b'"
grep -q -- ' -o ' "$work/log" || fail "not built again with other CFLAGS"
build_one CFLAGS="-O1 -DX='b'"
grep -q -- ' -o ' "$work/log" && fail "flags with quotes are never the same"
build_one LDFLAGS=-Wl,-O1
grep -q -- ' -o ' "$work/log" || fail "not built again with other LDFLAGS"
MAKEFLAGS='' make -n BUILD="$work/tree" LDFLAGS=-Wl,-O1 ONEDNN=0 lib | grep -q -- "-o $one" ||
    fail "ONEDNN=0 after a build with it builds nothing"
[ "$(MAKEFLAGS='' make -n BUILD="$work/tree" PREFIX=/nowhere CFLAGS=-O3 install | grep -c -- "-o $one")" -eq 0 ] ||
    fail "make install with other flags than make builds again"

# ---- oneDNN that is missing is told, and found where CPPFLAGS says ----
MAKEFLAGS='' make -n BUILD="$work/none" CC="$CC -nostdinc" lib >"$work/log" 2>&1 && fail "a missing oneDNN is not noticed"
grep -q 'oneDNN is missing.*ONEDNN=0' "$work/log" || { tail -n 2 "$work/log" | cut -c1-300; fail "not said that oneDNN is missing"; }
mkdir -p "$work/include/oneapi/dnnl" && : >"$work/include/oneapi/dnnl/dnnl.h"
MAKEFLAGS='' make -n BUILD="$work/none" CC="$CC -nostdinc" CPPFLAGS="-I$work/include" lib >"$work/log" 2>&1 ||
    { tail -n 1 "$work/log"; fail "oneDNN is not found where CPPFLAGS says"; }
MAKEFLAGS='' make CC="$CC -nostdinc" list | grep -q 'oneDNN): missing' || fail "make list does not say that it is missing"
exit $failed
