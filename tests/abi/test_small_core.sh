#!/bin/sh
# SPDX-License-Identifier: MIT
# A program that opens only files of libmoco never runs the reader of pickles: of the objects behind each public header,
# none but weights and import reaches one that reads pickles or zip archives, by any chain of symbols (export writes them).
. "$(dirname "$0")/begin.sh"
objects=$(find "$BUILD/obj/lib" "$BUILD/obj/src" -name '*.o')
for object in $objects; do
    nm -g --defined-only "$object" | awk -v o="$object" 'NF == 3 { print $3, o }' >>"$work/defined"
    nm -u "$object" | awk -v o="$object" '{ print o, $2 }' >>"$work/wanted"
done

# reaches OBJECT: all objects behind it
reaches() {
    awk -v start="$1" '
    NR == FNR { home[$1] = $2; next }
    $2 in home && home[$2] != $1 { edge[$1] = edge[$1] " " home[$2] }
    END {
        todo[n = 1] = start
        seen[start] = 1
        while (n > 0) {
            at = todo[n--]
            print at
            count = split(edge[at], to, " ")
            for (i = 1; i <= count; i++)
                if (!(to[i] in seen)) { seen[to[i]] = 1; todo[++n] = to[i] }
        }
    }' "$work/defined" "$work/wanted"
}

for object in "$BUILD"/obj/src/api/*.o "$BUILD"/obj/src/api/*/*.o; do
    name=$(basename "$object" .o)
    count=$((count + 1))
    reaches "$object" | grep -E '/(pickle[a-z_]*|zip|torch_[a-z]*)\.o$' | grep -v '_write\.o$' >"$work/found"
    case $name in
    weights | import) [ "$(wc -l <"$work/found")" -ge 8 ] || { echo "$name reaches too little: the check does not bite"; cat "$work/found"; failed=1; } ;;
    *) [ -s "$work/found" ] && { echo "src/api/$name.c reaches:"; cat "$work/found"; failed=1; } ;;
    esac
done
[ $count -gt 12 ] || { echo "only $count objects of src/api"; failed=1; }
exit $failed
