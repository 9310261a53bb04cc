#!/bin/sh
# The application in C++ (examples/sqlite.cc): pictures in a database, with rows that hold none; trained, stopped by SIGINT,
# and searched. It uses the public headers and libmoco.so alone.
. "$(dirname "$0")/../judged.sh"
sqlite=$BUILD/examples/sqlite
[ -x "$sqlite" ] || { echo "SKIPPED: the example sqlite is not built (Debian: libsqlite3-dev and g++)"; exit 0; }
python3 -c 'import sqlite3' 2>/dev/null || { echo "SKIPPED: python3 with sqlite3, which makes the database, is not here"; exit 0; }
mkdir "$work/data" && "$BUILD/tests/train/tool_draw" "$work/data" 130 40 jpg || exit 1
python3 - "$work" <<'PYTHON' || exit 1
import glob, sqlite3, sys
base = sqlite3.connect(sys.argv[1] + "/pictures.db")
base.execute("CREATE TABLE pictures (id INTEGER PRIMARY KEY, jpeg BLOB)")
files = [open(name, "rb").read() for name in sorted(glob.glob(sys.argv[1] + "/data/train/*/*.jpg"))]
rows = [(100 + i, file) for i, file in enumerate(files)]
rows += [(900, files[5]), (7, None), (8, b"no picture"), (9, files[0][:200])]
base.executemany("INSERT INTO pictures VALUES (?, ?)", rows)
base.commit()
PYTHON
grep -n '#include "' examples/sqlite.cc && fail "sqlite.cc includes more than public headers"

"$sqlite" "$work/pictures.db" "$work/encoder" train 2 >"$work/out" 2>"$work/err" || { cat "$work/err"; fail "training: status $?"; }
grep -q '^done after 2 steps$' "$work/out" || { cat "$work/out"; fail "other steps than one an epoch"; }
grep -q '2 of   2' "$work/err" || fail "no progress"
grep -q 'the caller has no such picture' "$work/err" || fail "a row without a picture is not logged"
"$sqlite" "$work/pictures.db" "$work/encoder" near 105 >"$work/out" 2>"$work/err" || { cat "$work/err"; fail "near: status $?"; }
[ "$(wc -l <"$work/out")" -eq 6 ] && [ "$(head -n 2 "$work/out" | tr '\n' ' ')" = "1.0000 105 1.0000 900 " ] ||
    { cat "$work/out"; fail "the same picture under another id is not the nearest"; }

# SIGINT: the step is cancelled, what was learnt is saved and can be used.
"$sqlite" "$work/pictures.db" "$work/stopped" train 100000 >"$work/out" 2>"$work/err" &
pid=$!
for _ in $(seq 600); do
    grep -q '2 of   2.*1 of   2' "$work/err" 2>/dev/null && break
    sleep 0.05
done
kill -INT $pid
wait $pid
[ $? -eq 75 ] && grep -q '^stopped after [1-9][0-9]* steps$' "$work/out" || { cat "$work/out" "$work/err"; fail "SIGINT"; }
"$sqlite" "$work/pictures.db" "$work/stopped" near 105 2>/dev/null | head -n 1 | grep -q '^1.0000 105$' || fail "what was saved at SIGINT is of no use"

expect() { # WORD ARGUMENTS...: status 1, and a sentence that holds WORD
    word=$1
    shift
    "$sqlite" "$@" >"$work/out" 2>"$work/err"
    [ $? -eq 1 ] && grep -q -- "$word" "$work/err" || { cat "$work/err"; fail "not \"$word\": $*"; }
}
expect Usage
expect Usage "$work/pictures.db" "$work/encoder" forget 3
expect 'no picture that can be read' "$work/pictures.db" "$work/encoder" near 8
expect 'no picture that can be read' "$work/pictures.db" "$work/encoder" near 5000
expect 'unable to open database' "$work/none.db" "$work/encoder" near 5
python3 -c "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute(\"CREATE TABLE other (id INTEGER)\")" "$work/empty.db"
expect 'no such table' "$work/empty.db" "$work/encoder" near 5
expect 'none' "$work/pictures.db" "$work/none" near 105
exit $failed
