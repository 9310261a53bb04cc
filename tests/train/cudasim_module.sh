# libmoco_cudasim.so, the CUDA backend on its simulated driver (tests/support/cudasim), as a module beside a copy of libmoco.so:
# to be sourced behind judged.sh by scripts that run programs with --device cudasim:0.
: "${CC:=cc}" "${CXX:=c++}"

mkdir "$work/lib"
cp -P "$BUILD"/libmoco.so* "$work/lib"
cat >"$work/module.c" <<'SOURCE'
#include "support/cudasim/sim_driver.h"
extern struct backend moco_backend __attribute__((visibility("default")));
struct backend moco_backend;
__attribute__((constructor)) static void fill(void)
{
    moco_backend = *backend_of_cudasim();
}
SOURCE
objects=$(ls "$BUILD"/obj/src/backend/cuda/*.o "$BUILD"/obj/src/backend/cuda/*/*.o "$BUILD"/obj/tests/support/cudasim/*.o |
    grep -v /cuda_module.o)
san=$(nm "$BUILD/libmoco.so" | sed -n 's/.* U __\(asan\|ubsan\|tsan\)_.*/\1/p' | sort -u | tr '\n' ' ')
flags=
case $san in *asan*) flags=-fsanitize=address ;; *tsan*) flags=-fsanitize=thread ;; esac
case $san in *ubsan*) flags="$flags -fsanitize=undefined" ;; esac
$CC -std=c11 -D_POSIX_C_SOURCE=200809L -fPIC -fvisibility=hidden -Iinclude -Ilib -Isrc -Itests -c -o "$work/module.o" "$work/module.c" || exit 1
$CXX $flags -shared -o "$work/lib/libmoco_cudasim.so" "$work/module.o" $objects "$BUILD/libmoco_internal.a" \
    -Wl,--exclude-libs,ALL -Wl,-z,defs -lm -lpthread || exit 1
export LD_LIBRARY_PATH="$work/lib"
