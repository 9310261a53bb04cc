#!/bin/sh
# SPDX-License-Identifier: MIT
# The reference before programs that are not ours: its HTML in a headless Chromium (peer_reference.py), and what the programs
# say on --help and --version before help2man, which has to find in it what our own pages have: usage, commands, options.
set -u
: "${BUILD:=build}"
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
failed=0
fail() {
    echo "$*"
    failed=1
}
python3 -c '' 2>/dev/null || { echo "SKIPPED: no python3"; exit 0; }
python3 -B "$(dirname "$0")/peer_reference.py" || failed=1

command -v help2man >/dev/null 2>&1 || { echo "SKIPPED: help2man is not installed"; exit $failed; }
page() { # NAME, command: NAME.1, and it as text
    help2man --no-info --version-string="$(moco --version)" -o "$work/$1.1" "$2" || { fail "help2man takes no $2"; return; }
    if command -v mandoc >/dev/null 2>&1; then
        mandoc -Tutf8 -Owidth=300 "$work/$1.1" | sed 's/.\x08//g' >"$work/$1"
        mandoc -Tlint -Wwarning "$work/$1.1" | grep -v 'cannot parse date' >"$work/said"
        [ -s "$work/said" ] && { cat "$work/said"; fail "mandoc complains of what help2man made of $2"; }
    else
        MANWIDTH=300 man -P cat -l "$work/$1.1" >"$work/$1"
    fi
}
has() { # NAME, what: a line of the page, in extended regular expressions
    grep -qE "$2" "$work/$1" || { cat "$work/$1"; fail "help2man's page of $1 has no line $2"; }
}
PATH=$(cd "$BUILD/examples" && pwd):$PATH
page moco moco
has moco '^NAME'
has moco '^SYNOPSIS'
has moco '^ +moco COMMAND \[ARGUMENTS\]'
for command in $(moco --help | sed -n 's/^  \([a-z]*\)  .*/\1/p'); do
    has moco "^ +$command( |\$)"
    printf '#!/bin/sh\nexec moco %s "$@"\n' "$command" >"$work/moco-$command"
    chmod +x "$work/moco-$command"
    page "$command" "$work/moco-$command"
    moco "$command" --help | grep -oE '^ +(-[a-z], )?--[a-z-]+' | grep -oE -- '--[a-z-]+' | sort -u >"$work/options"
    while read -r option; do
        has "$command" "^ +(-[a-z], )?$option"
    done <"$work/options"
done
exit $failed
