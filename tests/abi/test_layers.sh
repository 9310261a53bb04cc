#!/bin/sh
# Include edges against the table of src/README.md: a layer includes only layers below it, siblings never include each
# other, nobody includes api; examples and tests of behaviour see the public headers only. Then edges that must not be
# are planted in a copy of the tree, one at a time, and each has to be found.
. "$(dirname "$0")/begin.sh"
only= # a planted edge is looked for in its own file

# FILE: PREREQUISITES, one line for each source and header. Headers are compiled alone too, so that one which nobody
# includes yet is still held to its layer. -MG: oneDNN need not be installed.
edges() {
    { [ -n "$only" ] && echo "$only" || find lib src tests $(ls -d examples 2>/dev/null) \( -name '*.c' -o -name '*.cc' -o -name '*.h' \); } |
        sort >"$work/files"
    xargs "$CC" -MM -MG -Iinclude -Ilib -Isrc -Itests -Iexamples -D_POSIX_C_SOURCE=200809L -DMOCO_HAVE_ONEDNN=1 -DSIMD_LEVEL=base \
        <"$work/files" | sed -e ':join' -e '/\\$/{N;s/\\\n//;b join' -e '}' -e 's/^[^:]*: *//'
}

# Prints every edge that breaks the rules; the table is here.
violations() {
    edges >"$work/edges"
    [ "$(wc -l <"$work/edges")" = "$(wc -l <"$work/files")" ] || echo "some files could not be preprocessed"
    awk '
    function layer(f) { # the longest folder that the table knows
        if (f ~ /^include\/moco\/status\.h$/) return "status"
        if (f ~ /^include\//) return "public"
        if (f ~ /^lib\//) return "lib"
        if (match(f, /^src\/(backend\/(cpu\/kernels|cpu\/ops|cuda\/dnn|cuda\/nccl|program|ref|cpu|cuda)|comm\/mpi|data\/(dataset|decode|view))\//)) return substr(f, 5, RLENGTH - 5)
        if (match(f, /^src\/[a-z]+\//)) return substr(f, 5, RLENGTH - 5)
        if (match(f, /^examples\/[a-z]+\//)) return substr(f, 1, RLENGTH - 1)
        if (f ~ /^examples\//) return "examples"
        if (f ~ /^tests\/tolerances\.h$/) return "support"
        if (f ~ /^tests\/train\/test_faults\.c$/) return "unit" # stands between trainer and device: a test of the inside
        if (match(f, /^tests\/[a-z]+\//)) return substr(f, 7, RLENGTH - 7)
        return f
    }
    BEGIN {
        L0 = "lib status "
        L1 = L0 "public graph "
        L2 = L1 "net backend format data data/dataset data/decode data/view comm "
        L3 = L2 "algo "
        may["lib"] = L0
        may["graph"] = L1
        may["net"] = L1 "net "
        may["backend"] = L1 "backend "
        may["backend/program"] = L1 "backend backend/program "
        may["backend/ref"] = may["backend/program"] "backend/ref "
        may["backend/cpu/kernels"] = L0 "backend graph backend/cpu/kernels " # graph: of backend.h
        may["backend/cpu"] = may["backend/program"] "backend/cpu/kernels backend/cpu "
        may["backend/cpu/ops"] = may["backend/cpu"] "backend/cpu/ops "
        may["backend/cuda/dnn"] = L1 "backend backend/cuda/dnn "
        may["backend/cuda"] = may["backend/program"] "backend/cuda/dnn backend/cuda "
        may["backend/cuda/nccl"] = may["backend/cuda"] "backend/cuda/nccl "
        may["comm"] = L0 "public comm "
        may["comm/mpi"] = "public status " # anybody can build it from what is installed
        may["format"] = L0 "public format "
        may["data/decode"] = L0 "public data/decode "
        may["data/dataset"] = may["data/decode"] "data/dataset "
        may["data/view"] = may["data/decode"] "data/view "
        may["data"] = L0 "public data/dataset data/decode data/view data "
        may["algo"] = L3
        may["eval"] = L3 "eval "
        may["api"] = L3 "eval api "
        P0 = L0 "public examples/support "
        P1 = P0 "examples/folder examples/images "
        P2 = P1 "examples/measure "
        P3 = P2 "examples/report "
        may["examples/support"] = P0
        may["examples/folder"] = P0 "examples/folder "
        may["examples/images"] = P1
        may["examples/measure"] = P0 "examples/measure "
        may["examples/report"] = P3
        may["examples/run"] = P3 "examples/run "
        may["examples/probe"] = P3 "examples/probe "
        may["examples/compare"] = P1 "examples/run examples/compare "
        may["examples/demo"] = P3 "examples/demo "
        programs = P3 "examples/run examples/probe examples/compare examples/demo "
        may["examples"] = programs
        inside = L3 "backend/program backend/ref backend/cpu backend/cpu/ops backend/cpu/kernels backend/cuda backend/cuda/dnn backend/cuda/nccl eval support golden "
        may["unit"] = may["ops"] = inside "api unit ops "
        may["unit"] = may["unit"] programs # what programs share is tested alone, too
        may["golden"] = inside
        may["bench"] = inside "api bench " programs # how programs wait is measured
        may["robust"] = inside "api robust "
        may["peers"] = L1 "format data data/dataset data/decode data/view support peers " # readers and writers of files
        may["fuzz"] = L3 "eval support fuzz " programs # those of states and of programs too
        may["support"] = inside # a test of behaviour is held to its own row all the same
        may["train"] = "public status support train "
        may["cuda"] = L1 "net backend backend/cuda backend/cuda/dnn backend/cuda/nccl cuda "
        may["gpu"] = inside "api gpu "
        may["abi"] = "public status support abi "
    }
    {
        from = layer($1)
        if (!(from in may)) { print $1 ": the table has no layer for it"; next }
        for (i = 2; i <= NF; i++) {
            to = layer($i)
            if ($i ~ /\.\./) { print $1 " includes " $i ": paths start at a root"; continue }
            if (to == $i && system("test -e " $i) != 0) continue # a header of a library that is not here
            if (index(" " may[from], " " to " ") == 0)
                print $1 " (" from ") includes " $i " (" to ")"
        }
    }' "$work/edges"
    # A program reaches lib/ through its parts only.
    grep -n '#include "' examples/*.c /dev/null 2>/dev/null |
        grep -v '#include "\(moco\|support\|folder\|images\|measure\|report\|run\|probe\|compare\|demo\)/'
}

violations >"$work/found"
count=$(wc -l <"$work/files")
echo "$count files"
if [ -s "$work/found" ]; then
    cat "$work/found"
    exit 1
fi
[ "$count" -gt 60 ] || { echo "only $count files were looked at"; exit 1; }

# plant FILE HEADER: includes HEADER in a copy of FILE (made if there is none) and wants that edge, and no other, found.
failed=0
mkdir "$work/copy"
plant() {
    rm -rf "$work/copy"
    mkdir "$work/copy"
    cp -r lib src include tests "$work/copy"
    [ -d examples ] && cp -r examples "$work/copy"
    mkdir -p "$work/copy/$(dirname "$1")"
    printf '#include "%s"\n' "$2" >>"$work/copy/$1"
    (cd "$work/copy" && only=$1 && violations) >"$work/found"
    grep -q "^$1.*$2" "$work/found" || { echo "planted and not found: $1 includes $2"; cat "$work/found"; failed=1; }
}
plant src/graph/graph.c algo/schedule.h         # upward
plant src/net/planted.h backend/backend.h       # sibling, in a header that nobody includes
plant src/backend/memplan.c backend/cpu/kernels/kernels.h # the contract looks at one of those who fulfil it
plant src/backend/program/planted.c backend/cpu/cpu_layout.h # what devices share looks at one of them
plant src/backend/cpu/kernels/kernels_bn.c backend/program/program.h # a kernel knows no plan
plant src/backend/cpu/cpu_readers.c backend/cpu/ops/op_conv.h # what ops share looks at one of them
plant src/backend/cpu/kernels/planted.h backend/cpu/ops/op_bn.h
plant src/backend/cuda/dnn/planted.c backend/cuda/cuda.h # cuDNN's plans know no device of ours
plant src/backend/cuda/planted.c backend/cuda/nccl/nccl_library.h # what ranks need looks at a device, not the other way round
plant src/comm/comm.c backend/backend.h       # what it carries is bytes
plant src/comm/mpi/moco_mpi.c comm/comm.h
plant src/data/planted.h comm/comm.h
plant src/data/decode/planted.c data/dataset/dataset.h # a decoder does not know where pictures come from
plant src/data/view/planted.c data/loader.h
plant src/graph/planted.h comm/comm.h
plant lib/philox.c graph/graph.h
plant lib/err.c moco/base.h
plant src/algo/schedule.c backend/cpu/kernels/parallel.h # around the vtable
plant src/eval/planted.c api/handle.h
plant tests/train/planted.c graph/graph.h
plant examples/planted.c ctx.h
plant examples/support/planted.c data/loader.h
plant examples/folder/planted.c run/run_config.h # upward among the parts of programs
plant src/data/planted.c ../../src/algo/schedule.h
exit $failed
