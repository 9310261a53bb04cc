#!/bin/sh
# No folder of code has more than 20 modules: a person should know where a thing is without searching. A source and the
# header of its name are one module; folders inside a folder count for themselves. Then a folder that breaks the rule is
# planted.
. "$(dirname "$0")/begin.sh"
most=20

# FOLDER MODULES, a line for each folder with any.
count_modules() {
    find lib src include examples tests \( -name '*.c' -o -name '*.cc' -o -name '*.h' -o -name '*.hpp' \) | sed 's/\.[a-z]*$//' | sort -u |
        sed 's|/[^/]*$||' | sort | uniq -c | awk '{ print $2, $1 }'
}

# Prints every folder that is too full.
too_full() {
    count_modules | tee "$work/counts" |
        awk -v most="$most" '$2 > most { print $1 " has " $2 " modules; at most " most }'
}

too_full >"$work/found"
folders=$(wc -l <"$work/counts")
echo "$folders folders, $(awk '{ sum += $2 } END { print sum }' "$work/counts") modules"
if [ -s "$work/found" ]; then
    cat "$work/found"
    exit 1
fi
[ "$folders" -gt 40 ] || { echo "too few were looked at"; exit 1; }

mkdir "$work/copy"
cp -r lib src include "$work/copy"
[ -d examples ] && cp -r examples "$work/copy"
mkdir -p "$work/copy/examples" "$work/copy/src/planted" "$work/copy/tests/unit/planted"
i=0
while [ $i -le $most ]; do
    : >"$work/copy/src/planted/file$i.c"
    : >"$work/copy/src/planted/file$i.h"
    : >"$work/copy/tests/unit/planted/test_file$i.c"
    i=$((i + 1))
done
(cd "$work/copy" && too_full) >"$work/found"
for folder in src/planted tests/unit/planted; do
    echo "$folder has $((most + 1)) modules; at most $most"
done >"$work/wanted"
cmp -s "$work/found" "$work/wanted" || { echo "planted and not found, or more than that:"; cat "$work/found"; exit 1; }
