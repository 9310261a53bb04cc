#!/bin/sh
# No folder of code has more than 20 modules: a person should know where a thing is without searching. A source and the
# header of its name are one module; folders inside a folder count for themselves. Folders that had more when this rule
# was made have a ceiling of their own, and may only shrink. Then a folder that breaks each rule is planted.
set -u
most=20
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT

cat >"$work/ceilings" <<'END'
lib 33
src/api 21
src/data 30
src/format 22
END

# FOLDER MODULES, a line for each folder with any.
count_modules() {
    find lib src include examples \( -name '*.c' -o -name '*.cc' -o -name '*.h' \) | sed 's/\.[a-z]*$//' | sort -u |
        sed 's|/[^/]*$||' | sort | uniq -c | awk '{ print $2, $1 }'
}

# Prints every folder that is too full; what a ceiling has above what is there, to the error output.
too_full() {
    count_modules >"$work/counts"
    awk -v most="$most" '
    NR == FNR { ceiling[$1] = $2; next }
    {
        limit = $1 in ceiling ? ceiling[$1] : most
        if ($2 > limit) print $1 " has " $2 " modules; at most " limit
        else if ($1 in ceiling && $2 < limit) print $1 " has " $2 " modules: its ceiling can come down" >"/dev/stderr"
    }' "$work/ceilings" "$work/counts"
}

too_full >"$work/found"
folders=$(wc -l <"$work/counts")
echo "$folders folders, $(awk '{ sum += $2 } END { print sum }' "$work/counts") modules"
if [ -s "$work/found" ]; then
    cat "$work/found"
    exit 1
fi
[ "$folders" -gt 20 ] || { echo "too few were looked at"; exit 1; }

mkdir "$work/copy"
cp -r lib src include "$work/copy"
[ -d examples ] && cp -r examples "$work/copy"
mkdir -p "$work/copy/examples" "$work/copy/src/planted"
i=0
while [ $i -le $most ]; do
    : >"$work/copy/src/planted/file$i.c"
    : >"$work/copy/src/planted/file$i.h"
    i=$((i + 1))
done
lib=$(sed -n 's/^lib //p' "$work/counts")
ceiling=$(sed -n 's/^lib //p' "$work/ceilings")
while [ "$lib" -le "$ceiling" ]; do
    : >"$work/copy/lib/planted$lib.h"
    lib=$((lib + 1))
done
(cd "$work/copy" && too_full 2>/dev/null) >"$work/found"
printf '%s\n' "lib has $lib modules; at most $ceiling" "src/planted has $((most + 1)) modules; at most $most" >"$work/wanted"
cmp -s "$work/found" "$work/wanted" || { echo "planted and not found, or more than that:"; cat "$work/found"; exit 1; }
