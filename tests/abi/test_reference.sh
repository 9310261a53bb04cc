#!/bin/sh
# The manual pages and the HTML reference are whole: a page for every exported function and every command, none that
# `make uninstall` does not know, no word of the headers lost, no link that leads nowhere (check_reference.py), and nothing
# that mandoc or groff complains of. Then faults are planted in copies.
. "$(dirname "$0")/begin.sh"
case $BUILD in /*) ;; *) BUILD=$PWD/$BUILD ;; esac
command -v python3 >/dev/null 2>&1 || { echo "SKIPPED: python3, which makes the reference, is not here"; exit 0; }
man=$BUILD/man
[ -f "$man/man3.made" ] && [ -f "$BUILD/html.made" ] || { echo "make has made no reference, though python3 is here"; exit 1; }

symbols=$(sed -n 's/^ *\(moco_[a-z0-9_]*\);$/\1/p' src/api/moco.map)
[ "$(echo "$symbols" | wc -l)" -gt 120 ] || fail "too few symbols in moco.map"
for symbol in $symbols; do
    [ -s "$man/man3/$symbol.3" ] || fail "$symbol has no page"
done
for command in $("$BUILD/examples/moco" --help | sed -n 's/^  \([a-z]*\)  .*/\1/p'); do
    [ -s "$man/man1/moco-$command.1" ] || fail "moco $command has no page"
done
# MAKEFLAGS: this runs below make, whose job server is not ours.
known() { MAKEFLAGS='' make -s BUILD="$BUILD" --eval="show: ; @printf '%s\n' \$($1) | sort" show; }
for section in 1 3; do
    ls "$man/man$section" >"$work/made"
    known "man${section}_pages" | diff "$work/made" - || fail "pages of section $section that were made (<) and those that make knows (>)"
done
ls "$BUILD/html" >"$work/made"
known html_pages | diff "$work/made" - || fail "HTML pages that were made (<) and those that make knows (>)"

check() { python3 -B tests/abi/check_reference.py "$@"; }
check "$man/man3" "$BUILD/html" include/moco || failed=1

# What the two formatters say, without what is as it should be: names of functions are in lower case, and links are .so.
lint() { # FOLDER
    (cd "$1" && grep -L '^\.so ' man?/* | xargs mandoc -Tlint -Wstyle 2>&1 | grep -v 'lower case character in document title')
}
format() {
    (cd "$1" && grep -L '^\.so ' man?/* | xargs groff -man -ww -z -Tutf8 2>&1)
}
skipped=
for formatter in mandoc:lint groff:format; do
    if command -v "${formatter%:*}" >/dev/null 2>&1; then
        "${formatter#*:}" "$man" >"$work/said"
        [ -s "$work/said" ] && { head -n 20 "$work/said"; fail "${formatter%:*} complains, as above"; }
    else
        skipped="$skipped ${formatter%:*}"
    fi
done

# Planted faults.
cp -r "$man" "$BUILD/html" "$work" || exit 1
cp -r include/moco "$work/headers"
wrong() { check "$work/man/man3" "$work/html" "$work/headers" >"$work/said" && fail "not found: $1"; }
sed -i 's/id="moco_tensor"/id="moco_tonsor"/' "$work/html/base.html"
wrong "a link that leads nowhere"
cp "$BUILD/html/base.html" "$work/html"
sed -i '0,/<\/p>/s///' "$work/html/queue.html"
wrong "a page that is not well-formed"
cp "$BUILD/html/queue.html" "$work/html"
sed -i 's/Decodes a JPEG/Decodes any JPEG with nerve, a JPEG/' "$work/headers/augment.h"
wrong "words of a header that are on no page"
cp include/moco/augment.h "$work/headers"
sed -i 's/There is nothing to link/There is nothing whatever to link/' "$work/headers/moco.hpp"
wrong "words of moco.hpp that are on no page"
cp include/moco/moco.hpp "$work/headers"
grep -q 'moco::queue::push' "$man/man3/moco_queue_push.3" ||
    fail "what moco_queue_push is called in C++ is not on its page"
rm "$work/man/man3/moco_dataset_count.3"
wrong "a link to a page that is not there"
check "$man/man3" "$BUILD/html" include/moco >/dev/null || fail "the planted faults are not what was found"
printf '.Xy nothing\n.PP\n.PP\n' >>"$work/man/man3/moco_error.3"
case $skipped in *mandoc*) ;; *) [ -n "$(lint "$work/man")" ] || fail "mandoc complains of nothing" ;; esac
case $skipped in *groff*) ;; *) [ -n "$(format "$work/man")" ] || fail "groff complains of nothing" ;; esac
[ -n "$skipped" ] && echo "SKIPPED: not here, so that nobody looked at the manual pages:$skipped"
exit $failed
