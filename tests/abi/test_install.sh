#!/bin/sh
# An installed libmoco serves its users: staged with DESTDIR and moved to its PREFIX, as a package is, it is found by
# pkg-config and CMake, linked from C and C++, shared and static. What is installed is what is declared here, file by file, and
# `make uninstall` leaves every file and folder that was there before and none of ours.
. "$(dirname "$0")/begin.sh"
prefix=$work/prefix
# MAKEFLAGS: this runs below make, whose job server is not ours.
MAKEFLAGS='' make -s BUILD="$BUILD" DESTDIR="$work/stage" PREFIX="$prefix" install || exit 1
[ -e "$prefix" ] && fail "make install with DESTDIR wrote to PREFIX itself"
[ "$(ls "$work/stage")" = "${prefix#/}" ] || [ -d "$work/stage$prefix" ] || { fail "nothing is below DESTDIR/PREFIX"; exit 1; }
mv "$work/stage$prefix" "$prefix"
[ -z "$(find "$work/stage" ! -type d)" ] || fail "files outside of PREFIX: $(find "$work/stage" ! -type d)"
grep -rl "$work/stage" "$prefix/lib/pkgconfig" "$prefix/lib/cmake" && fail "DESTDIR stands in the files above"
for header in include/moco/*.h include/moco/*.hpp include/moco/cpp/*.hpp; do
    cmp -s "$header" "$prefix/$header" || fail "$header is not installed"
done
# What is declared. The pages follow from the headers, the symbols and the commands (test_reference.sh says which).
version=$(sed -n 's/^.define MOCO_VERSION_[MP][A-Z]* //p' include/moco/base.h | paste -sd.)
declared() {
    printf '%s\n' bin/moco lib/libmoco.a lib/libmoco.so lib/libmoco.so.0 "lib/libmoco.so.$version" lib/pkgconfig/moco.pc \
        lib/cmake/moco/moco-config.cmake lib/cmake/moco/moco-config-version.cmake
    ls include/moco/*.h include/moco/*.hpp include/moco/cpp/*.hpp
    printf 'share/doc/libmoco/%s\n' README.md CHANGES.md LICENSE docs/*.md docs/*.png docs/*.svg examples/first.c examples/overnight.c examples/sqlite.cc examples/moco_mpi.c
    for module in cuda mpi; do
        [ ! -e "$BUILD/libmoco_$module.so" ] || echo "lib/libmoco_$module.so"
    done
    [ "$python" = 1 ] || return
    (cd "$BUILD/man" && ls man1/*.1 man3/*.3) | sed 's|^|share/man/|'
    (cd "$BUILD/html" && ls) | sed 's|^|share/doc/libmoco/reference/|'
}
python=0
python3 -c 'import sys; sys.exit(sys.version_info < (3, 6))' 2>/dev/null && python=1
installed() { (cd "$1" && find . ! -type d | sed 's|^\./||' | sort); }
declared | sort >"$work/declared"
installed "$prefix" | diff "$work/declared" - >"$work/log" || { cat "$work/log"; fail "installed is not what is declared (< missing, > more)"; }
[ -z "$(find "$prefix" -type f ! -perm -444)" ] || fail "not for everybody to read: $(find "$prefix" -type f ! -perm -444)"
export PKG_CONFIG_PATH="$prefix/lib/pkgconfig" LD_LIBRARY_PATH="$prefix/lib"

# One program, C and C++ alike; the names that libmoco uses inside are free for its users.
cat >"$work/user.c" <<'PROGRAM'
#include <moco/moco.h>
#include <stdio.h>
#ifdef __cplusplus
extern "C" {
#endif
int pool_create(void);
int ctx_create(void);
int graph_create(void);
int err_set(void);
#ifdef __cplusplus
}
#endif
int pool_create(void) { return 1; }
int ctx_create(void) { return 2; }
int graph_create(void) { return 3; }
int err_set(void) { return 4; }
int main(void)
{
    moco_context *context = NULL;
    moco_device *device = NULL;
    if (moco_version() != MOCO_VERSION || moco_context_create(&context, NULL) != MOCO_OK)
        return 1;
    if (moco_device_open(&device, context, "ref") != MOCO_OK || moco_device_open(&device, context, "?") != MOCO_ENODEV)
        return 2;
    moco_device_free(device);
    moco_context_free(context);
    printf("%d\n", pool_create() + ctx_create() + graph_create() + err_set());
    return 0;
}
PROGRAM
cp "$work/user.c" "$work/user.cc"
cat >"$work/user17.cc" <<'PROGRAM'
#include <cstdio>
#include <moco/moco.hpp>
int main()
{
    auto device = moco::device::open(moco::context::create(), "ref");
    try {
        moco::device::open(moco::context(), "ref");
    } catch (const moco::error &e) {
        return e.status() == MOCO_EINVAL && std::puts(device ? "10" : "?") > 0 ? 0 : 1;
    }
    return 1;
}
PROGRAM
runs() { # name, command that compiles to $work/name...
    name=$1
    shift
    rm -f "$work/$name"
    "$@" -o "$work/$name" || { fail "$name does not compile"; return; }
    [ "$("$work/$name")" = 10 ] || fail "$name does not run"
    count=$((count + 1))
}
count=0
flags() {
    pkg-config "$@" moco || fail "pkg-config $* moco"
}
# shellcheck disable=SC2046
{
    runs c "$CC" -std=c99 $(flags --cflags) "$work/user.c" $(flags --libs)
    runs cxx "$CXX" -std=c++11 $(flags --cflags) "$work/user.cc" $(flags --libs)
    runs cxx17 "$CXX" -std=c++17 $(flags --cflags) "$work/user17.cc" $(flags --libs)
    # Everything else is shared still, so the archive is named: -lmoco would find the shared library first.
    runs static "$CC" $(flags --cflags) "$work/user.c" "$prefix/lib/libmoco.a" \
        $(flags --static --libs | sed 's/ *-lmoco\b//')
}
readelf -d "$work/c" | grep -q 'NEEDED.*libmoco\.so\.0' || fail "the C program does not load libmoco.so.0"
readelf -d "$work/static" | grep -q 'NEEDED.*libmoco' && fail "the static program loads a shared libmoco"
[ "$(pkg-config --modversion moco)" = "$(sed -n 's/^.define MOCO_VERSION_[MP][A-Z]* //p' include/moco/base.h | paste -sd.)" ] ||
    fail "moco.pc has another version than the headers"

skipped=
if command -v cmake >/dev/null 2>&1; then
    mkdir "$work/cmake"
    cp "$work/user.c" "$work/cmake"
    cat >"$work/cmake/CMakeLists.txt" <<'LISTS'
cmake_minimum_required(VERSION 3.16)
project(user C)
find_package(moco 0.1 REQUIRED CONFIG)
add_executable(shared user.c)
target_link_libraries(shared PRIVATE moco::moco)
add_executable(archive user.c)
target_link_libraries(archive PRIVATE moco::static)
LISTS
    if cmake -S "$work/cmake" -B "$work/cmake/build" -DCMAKE_PREFIX_PATH="$prefix" >"$work/log" 2>&1 &&
        cmake --build "$work/cmake/build" >>"$work/log" 2>&1; then
        for name in shared archive; do
            [ "$("$work/cmake/build/$name")" = 10 ] || fail "CMake's $name does not run"
            count=$((count + 1))
        done
    else
        cat "$work/log"
        fail "find_package(moco)"
    fi
    sed -i 's/moco 0\.1/moco 9.9/' "$work/cmake/CMakeLists.txt"
    cmake -S "$work/cmake" -B "$work/cmake/other" -DCMAKE_PREFIX_PATH="$prefix" >/dev/null 2>&1 &&
        fail "find_package(moco 9.9) was content with this version"
else
    skipped="SKIPPED: cmake is not here: find_package(moco) was not tried"
fi

# A tree that others have files in: after install and uninstall it is as it was, with empty folders at most where a system
# has them anyway.
tree=$work/tree
mkdir -p "$tree/lib" "$tree/share/man/man3" "$tree/share/doc/libmoco-other" "$tree/include/moco-other"
touch "$tree/lib/not-ours" "$tree/share/man/man3/moco_of_others.3" "$tree/share/doc/libmoco-other/README.md" "$tree/include/moco-other/moco.h"
find "$tree" | sort >"$work/before"
for run in with without; do
    nothing=
    [ $run = without ] && nothing=PYTHON=no-such-python
    # shellcheck disable=SC2086
    MAKEFLAGS='' make -s BUILD="$BUILD" PREFIX="$tree" $nothing install >"$work/log" || { cat "$work/log"; fail "make install $run Python"; }
    if [ $run = without ]; then
        grep -q 'no manual pages.*Debian: python3' "$work/log" || { cat "$work/log"; fail "make install says nothing of pages that it cannot make"; }
        [ -e "$tree/share/man/man3/moco_error.3" ] && fail "pages, without Python"
    fi
    cmp -s LICENSE "$tree/share/doc/libmoco/LICENSE" || fail "no licence is installed $run Python"
    # shellcheck disable=SC2086
    MAKEFLAGS='' make -s BUILD="$BUILD" PREFIX="$tree" $nothing uninstall >"$work/log" 2>&1 || { cat "$work/log"; fail "make uninstall $run Python"; }
    find "$tree" | sort | grep -vxE "$tree/(bin|share/man|share/doc|share|include|lib)" >"$work/after"
    grep -vxE "$tree/(bin|share/man|share/doc|share|include|lib)" "$work/before" | diff - "$work/after" >"$work/log" ||
        { cat "$work/log"; fail "make uninstall $run Python took (<) or left (>) the above"; }
done

# As a distribution with several architectures lays it out: libraries and headers in folders of their own.
prefix=$work/by-arch
lib=$prefix/lib/x86_64-linux-gnu
places="PREFIX=$prefix LIBDIR=$lib INCLUDEDIR=$prefix/include/x86_64-linux-gnu BINDIR=$prefix/libexec
    MANDIR=$prefix/pages DOCDIR=$prefix/papers"
# shellcheck disable=SC2086
MAKEFLAGS='' make -s BUILD="$BUILD" $places install >"$work/log" || { cat "$work/log"; exit 1; }
grep -q "does not look into $lib.*ldconfig" "$work/log" || fail "make install says nothing of ldconfig: $(cat "$work/log")"
[ "$(ls "$prefix" | grep -v pages | tr '\n' ' ')" = "include lib libexec papers " ] || fail "make install with LIBDIR made $(ls "$prefix")"
[ $python = 0 ] || [ -s "$prefix/pages/man3/moco_error.3" ] || fail "no manual pages in MANDIR"
[ "$(ls "$prefix/lib" "$prefix/include" | grep -c x86_64)" = 2 ] || fail "files beside LIBDIR and INCLUDEDIR: $(find "$prefix" | head)"
export PKG_CONFIG_PATH="$lib/pkgconfig" LD_LIBRARY_PATH="$lib"
# shellcheck disable=SC2046
runs multiarch "$CC" $(flags --cflags) "$work/user.c" $(flags --libs)
if [ -z "$skipped" ]; then
    sed -i 's/moco 9\.9/moco 0.1/' "$work/cmake/CMakeLists.txt"
    if cmake -S "$work/cmake" -B "$work/cmake/multiarch" -Dmoco_DIR="$lib/cmake/moco" >"$work/log" 2>&1 &&
        cmake --build "$work/cmake/multiarch" >>"$work/log" 2>&1 && [ "$("$work/cmake/multiarch/shared")" = 10 ]; then
        count=$((count + 1))
    else
        cat "$work/log"
        fail "find_package(moco) in LIBDIR"
    fi
fi
# shellcheck disable=SC2086
MAKEFLAGS='' make -s BUILD="$BUILD" $places uninstall || fail "make uninstall with LIBDIR"
[ -z "$(find "$prefix" ! -type d)" ] || fail "left by make uninstall with LIBDIR: $(find "$prefix" ! -type d)"
[ -z "$(find "$prefix" -name '*moco*' -o -name cmake -o -name pkgconfig)" ] || fail "folders left by make uninstall: $(find "$prefix")"
echo "$count programs"
[ -n "$skipped" ] && echo "$skipped"
exit $failed
