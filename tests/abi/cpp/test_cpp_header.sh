#!/bin/sh
# moco.hpp compiles alone and twice, in every standard from C++17 on, with and without exceptions and RTTI, under g++ and
# clang++, without a warning; what the tests instantiate does, too. Every public function of C is reached through it, every
# call exists as a result and as one that throws, and tests make each. Then faults are planted.
set -u
: "${CXX:=c++}"
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
failed=0 count=0
fail() {
    echo "$*"
    failed=1
}
warn="-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror"
compiles() { # FILE, compiler and flags...
    file=$1
    shift
    count=$((count + 1))
    { "$@" -Iinclude -Ilib -Itests -fsyntax-only -x c++ "$file" || echo "does not compile: $* $file"; } >"$work/said.$count" 2>&1 &
    [ $((count % 2)) -eq 1 ] || wait # two at a time
}
compilers='' paths=''
for cxx in "${CXX##* }" g++ clang++; do
    path=$(readlink -f "$(command -v "$cxx")") && [ -n "$path" ] || continue
    case " $paths " in *" $path "*) continue ;; esac # c++ is g++ under another name
    compilers="$compilers $cxx" paths="$paths $path"
done
printf '#include <moco/moco.hpp>\n#include <moco/moco.hpp>\nint main() { return moco::version() == 0; }\n' >"$work/unit.cc"
for cxx in $compilers; do
    for std in 17 20 2b; do
        # shellcheck disable=SC2086
        for way in "" "-fno-exceptions -fno-rtti"; do
            compiles "$work/unit.cc" $cxx -std=c++$std $warn $way
        done
    done
    # All that is a template. The tests' own conversions are not looked at.
    # shellcheck disable=SC2086
    {
        compiles tests/abi/cpp/test_cpp_results.cc $cxx -std=c++17 $warn -Wno-conversion -Wno-sign-conversion -fno-exceptions -fno-rtti
        compiles tests/abi/cpp/test_cpp_throws.cc $cxx -std=c++20 $warn -Wno-conversion -Wno-sign-conversion
    }
done
{
    printf '#include <moco/moco.hpp>\nint look(const std::vector<std::string> &paths)\n{\n'
    sed -n '/^```cpp$/,/^```$/p' README.md | grep -v '^```'
    printf 'return near.ids.rows() > 0;\n}\n'
} >"$work/readme.cc"
compiles "$work/readme.cc" "${compilers##* }" -std=c++17 -Wall -Wextra -Werror
echo '#include <moco/moco.hpp>' >"$work/old.cc"
for header in include/moco/cpp/*.hpp; do # each alone: it includes what it needs
    alone=$work/alone_$(basename "$header" .hpp).cc
    printf '#include <%s>\n' "${header#include/}" >"$alone"
    compiles "$alone" "${compilers##* }" -std=c++17
    grep -q "\"${header#include/}\"" include/moco/moco.hpp || fail "moco.hpp does not include $header"
done
wait
for said in "$work"/said.*; do
    [ -s "$said" ] && { head -n 20 "$said"; fail "as above"; }
done
"${compilers##* }" -std=c++14 -Iinclude -fsyntax-only "$work/old.cc" >"$work/said" 2>&1 && fail "C++14 is taken"
grep -q 'needs C++17' "$work/said" || fail "C++14 is refused without a reason"

# Functions of C that no call reaches. None is left out on purpose.
unreached() { # FOLDER of headers
    for symbol in $(sed -n 's/^ *\(moco_[a-z0-9_]*\);$/\1/p' src/api/moco.map); do
        cat "$1"/*.hpp "$1"/cpp/*.hpp | grep -qw -e "$symbol" -e "${symbol%_sized}" || echo "$symbol"
    done
}
# Calls try_X whose X does not exist: X hands on to try_X and takes the value.
alone() { # FOLDER
    cat "$1"/cpp/*.hpp | tr '\n' ' ' | tr -s ' ' >"$work/flat"
    for name in $(grep -oh '\btry_[a-z0-9_]*(' "$1"/cpp/*.hpp | sort -u | sed 's/try_\(.*\)($/\1/'); do
        grep -qE "[^_]\b$name\([^;]*\)( const)? \{ (return )?try_$name(<T>)?\([^;]*\)\.value\(\); \}" "$work/flat" || echo "$name"
    done
}
# Calls that a test does not make: results in one, what throws in the other.
uncalled() { # PREFIX TEST FOLDER
    for name in $(grep -oh '\btry_[a-z0-9_]*(' "$3"/cpp/*.hpp | sort -u | sed 's/try_\(.*\)($/\1/'); do
        grep -qE "(\.|::)$1$name(<[a-z]*>)?\(" "$2" || echo "$1$name"
    done
}
look() { # FOLDER
    unreached "$1"
    alone "$1"
    uncalled try_ tests/abi/cpp/test_cpp_results.cc "$1"
    uncalled "" tests/abi/cpp/test_cpp_throws.cc "$1"
}
look include/moco >"$work/found"
[ -s "$work/found" ] && { cat "$work/found"; fail "functions that moco.hpp does not reach, or calls without a twin or a test, as above"; }
symbols=$(grep -c '^ *moco_' src/api/moco.map)
calls=$(grep -oh '\btry_[a-z0-9_]*(' include/moco/cpp/*.hpp | sort -u | wc -l)
[ "$symbols" -gt 150 ] && [ "$calls" -gt 60 ] || fail "too little was looked at: $symbols functions, $calls calls"

cp -r include/moco "$work/planted"
sed -i 's/moco_queue_push/moco_queue_get/; s/try_start_at(epoch, position)\.value()/try_start(epoch).value()/' "$work/planted/cpp/model.hpp" "$work/planted/cpp/data.hpp"
sed -i 's/try_gather(void/try_collect(void/' "$work/planted/cpp/trainer.hpp"
[ "$(look "$work/planted" | sort -u | tr '\n' ' ')" = "collect moco_queue_push start_at try_collect " ] ||
    fail "planted, and found: $(look "$work/planted" | sort -u | tr '\n' ' ')"
case $compilers in *clang++*) ;; *) echo "SKIPPED: clang++ is not here: moco.hpp was compiled with$compilers alone" ;; esac
echo "$count compilations with$compilers, $symbols functions, $calls calls"
exit $failed
