#!/bin/sh
# The program in README.md is the one in examples/first.c, line for line, and the files that README names are there.
set -u
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
failed=0
sed -n '/^```c$/,/^```$/p' README.md | grep -v '^```' | sed 's/^ *//' | grep -v '^$' >"$work/readme"
[ "$(wc -l <"$work/readme")" -gt 20 ] || { echo "README.md shows no program"; failed=1; }
sed 's/^ *//' examples/first.c | grep -v '^$' >"$work/first"
# In order and without gaps: the block is a piece of the file.
awk 'NR == FNR { want[n++] = $0; next } { if ($0 == want[at]) { if (++at == n) found = 1 } else at = ($0 == want[0]) }
     END { exit !found }' "$work/readme" "$work/first" || { echo "the program in README.md is not a piece of examples/first.c"; failed=1; }
for file in $(grep -o '](\([a-zA-Z0-9_./-]*\))' README.md | sed 's/^](//; s/)$//' | sort -u); do
    [ -e "$file" ] || { echo "README.md names $file, which is not there"; failed=1; }
done
exit $failed
