#!/bin/sh
# The documents against the tree. The program in README.md is the one in examples/first.c, line for line. Every relative
# link of a document leads to a file, and its #part to a heading. Every page of docs/ is linked from README.md. The
# folders in the picture of the layers are those that exist. Then faults are planted in a copy, and each has to be found.
. "$(dirname "$0")/begin.sh"
sed -n '/^```c$/,/^```$/p' README.md | grep -v '^```' | sed 's/^ *//' | grep -v '^$' >"$work/readme"
[ "$(wc -l <"$work/readme")" -gt 20 ] || { echo "README.md shows no program"; failed=1; }
sed 's/^ *//' examples/first.c | grep -v '^$' >"$work/first"
# In order and without gaps: the block is a piece of the file.
awk 'NR == FNR { want[n++] = $0; next } { if ($0 == want[at]) { if (++at == n) found = 1 } else at = ($0 == want[0]) }
     END { exit !found }' "$work/readme" "$work/first" || { echo "the program in README.md is not a piece of examples/first.c"; failed=1; }

headings() { # FILE: the names that #part of a link can have
    sed -n '/^```/,/^```/d; s/^##* //p' "$1" | tr 'A-Z' 'a-z' | sed 's/[^a-z0-9 _-]//g; s/ /-/g'
}
dead_links() { # ROOT
    for page in "$1"/*.md "$1"/docs/*.md "$1"/examples/README.md "$1"/src/README.md "$1"/tests/README.md; do
        for link in $(grep -o '](\([^) ]*\))' "$page" | sed 's/^](//; s/)$//' | grep -v '^[a-z]*:' | sort -u); do
            file=${link%%#*} part=
            case $link in *'#'*) part=${link#*#} ;; esac
            target=$(dirname "$page")/$file
            [ -n "$file" ] || target=$page
            if [ ! -e "$target" ]; then
                echo "${page#"$1"/} links to $link, which is not there"
            elif [ -n "$part" ] && ! headings "$target" | grep -qx -- "$part"; then
                echo "${page#"$1"/} links to $link, which has no such heading"
            fi
        done
    done
}
unlisted() { # ROOT: pages that README.md does not link
    for page in "$1"/docs/*.md; do
        grep -q "](docs/${page##*/}[)#]" "$1/README.md" || echo "README.md does not list docs/${page##*/}"
    done
}
picture() { # ROOT: the picture of the layers names each folder of the library, and no other
    sed -n 's/.*<text class="folder[a-z ]*"[^>]*>\([^<]*\)<.*/\1/p' "$1/docs/layers.svg" | sort >"$work/drawn"
    (cd "$1" && find src/* lib include/moco -type d) | sort >"$work/there"
    diff "$work/drawn" "$work/there" | sed -n 's/^< \(.*\)/docs\/layers.svg shows \1, which is not there/p
        s/^> \(.*\)/docs\/layers.svg does not show the folder \1/p'
}
all() {
    dead_links "$1"
    unlisted "$1"
    picture "$1"
}
all . >"$work/found"
cat "$work/found"
[ ! -s "$work/found" ] || failed=1
words() { grep -c '^| ' "$1"; } # with a head in each of its two tables
[ "$(words docs/glossary.md)" -le 42 ] || { echo "docs/glossary.md has $(($(words docs/glossary.md) - 2)) words; at most 40"; failed=1; }
[ "$(grep -oh '](\([^) ]*\))' ./*.md docs/*.md | grep -vc ':')" -gt 1 ] || { echo "no links were looked at"; failed=1; }

mkdir -p "$work/copy" && cp -r ./*.md LICENSE docs src lib include "$work/copy/" && mkdir "$work/copy/examples" "$work/copy/tests" &&
    cp examples/*.md examples/*.c "$work/copy/examples/" && cp tests/*.md "$work/copy/tests/"
planted() { # WHAT, and a command that plants it in the copy: one finding more
    all "$work/copy" >"$work/before"
    (cd "$work/copy" && eval "$2")
    all "$work/copy" >"$work/after"
    [ "$(wc -l <"$work/after")" -gt "$(wc -l <"$work/before")" ] || { echo "planted and not found: $1"; failed=1; }
}
planted "a dead link" "echo '[x](nowhere.md)' >>docs/glossary.md"
planted "a dead link of src/README.md" "echo '[x](../docs/nowhere.md)' >>src/README.md"
planted "a dead heading" "echo '[x](performance.md#nothing-of-that-name)' >>docs/results.md"
planted "a page that nobody lists" "echo '# Page' >docs/page.md"
planted "a new folder" "mkdir src/newfolder"
planted "a folder that went" "mv src/graph graph"
exit $failed
