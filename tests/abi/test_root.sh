#!/bin/sh
# The project's root, and docs/, hold what belongs there and nothing else: what a program or a person dropped beside it has been
# committed before. A name is added here by whoever adds the file, on purpose. Then files that do not belong are planted.
. "$(dirname "$0")/begin.sh"

# What git keeps, in a checkout; in an unpacked archive everything that is there but what building makes.
kept() {
    if git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
        git ls-files --cached --others --exclude-standard
    else
        find . -type f | sed 's|^\./||' | grep -Ev '^(build|runs|moco-run|moco-demo)/|\.pyc$'
    fi
}

odd() { # names on the input, those that do not belong on the output
    grep -Ev '^(\.clang-format|\.gitignore|CHANGES\.md|CONTRIBUTING\.md|LICENSE|Makefile|README\.md|bootstrap)$' |
        grep -Ev '^(\.ci|examples|include/moco|lib|pkgconfig|src|tests)/' |
        grep -Ev '^docs/[a-z0-9-]+\.(md|png|svg)$|^docs/(notebook|reference)/'
}

kept >"$work/kept"
[ "$(wc -l <"$work/kept")" -gt 300 ] || { echo "only $(wc -l <"$work/kept") files were looked at"; exit 1; }
failed=0
odd <"$work/kept" >"$work/found"
[ -s "$work/found" ] && { echo "these do not belong where they are (tests/abi/test_root.sh):"; cat "$work/found"; failed=1; }
# Archives, objects and packages belong nowhere: everything that is kept is a source.
grep -E '\.(whl|tar|gz|xz|o|a|so|pyc|orig|rej|swp|log)$' "$work/kept" | grep -v '^tests/.*corpus/\|^tests/golden/fixtures/' >"$work/found"
[ -s "$work/found" ] && { echo "made by a program, not written:"; cat "$work/found"; failed=1; }
printf '%s\n' torch.whl notes.txt include/other.h docs/draft.txt README.md docs/weights.md src/new.c .git/config | odd >"$work/found"
[ "$(tr '\n' ' ' <"$work/found")" = "torch.whl notes.txt include/other.h docs/draft.txt .git/config " ] ||
    { echo "planted and not found, or more than that:"; cat "$work/found"; failed=1; }
exit $failed
