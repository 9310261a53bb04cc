#!/bin/sh
# Circles between files of lib/ and src/: a .c or .cc depends on another if its object refers to a symbol that the other
# one defines. There are none. What a reader would get wrong: includes do not show them, since a header may declare what
# several files define. Then a circle is planted and has to be found.
. "$(dirname "$0")/begin.sh"

# FILE FILE, a line for each dependence. Objects of *_simd.c exist once for each set of instructions; those of files that
# are gone do not count.
dependences() { # folder of sources, folder of objects
    (cd "$2" && find . -name '*.o' | sed 's|^\./||') | while read -r object; do
        source=${object%.o}
        [ -e "$1/$source.c" ] || [ -e "$1/$source.cc" ] || source=${source%.*}
        [ -e "$1/$source.c" ] || [ -e "$1/$source.cc" ] || continue
        nm -P "$2/$object" | sed "s|^|$source |"
    done | awk '
    $3 ~ /^[TDBRVW]$/ { if (!($2 in defines)) defines[$2] = $1 }
    $3 == "U" { from[++count] = $1; symbol[count] = $2 }
    END {
        for (i = 1; i <= count; i++)
            if (symbol[i] in defines && defines[symbol[i]] != from[i]) print from[i], defines[symbol[i]]
    }' | sort -u
}

# What is left when files that depend on none, or on which none depends, are taken away again and again.
circles() {
    awk '
    { a[NR] = $1; b[NR] = $2 }
    END {
        for (again = 1; again;) {
            again = 0
            split("", depended)
            split("", depends)
            for (i = 1; i <= NR; i++) if (a[i] != "") { depends[a[i]]; depended[b[i]] }
            for (i = 1; i <= NR; i++)
                if (a[i] != "" && (!(a[i] in depended) || !(b[i] in depends))) { a[i] = ""; again = 1 }
        }
        for (i = 1; i <= NR; i++) if (a[i] != "") print a[i], "->", b[i]
    }'
}

mkdir "$work/obj"
cp -r "$BUILD/obj/lib" "$BUILD/obj/src" "$work/obj" 2>/dev/null || { echo "SKIPPED: no objects in $BUILD"; exit 0; }
dependences . "$work/obj" >"$work/all"
count=$(wc -l <"$work/all")
echo "$count dependences between files"
[ "$count" -gt 300 ] || { echo "too few were found"; exit 1; }
circles <"$work/all" >"$work/found"
if [ -s "$work/found" ]; then
    echo "files in a circle, or on the way from one circle to another:"
    cat "$work/found"
    exit 1
fi

mkdir -p "$work/planted/src" "$work/planted_obj/src"
echo 'int b(void); int a(void); int a(void) { return b(); }' >"$work/planted/src/a.c"
echo 'int c(void); int b(void); int b(void) { return c(); }' >"$work/planted/src/b.c"
echo 'int a(void); int c(void); int c(void) { return a(); }' >"$work/planted/src/c.c"
echo 'int a(void); int d(void); int d(void) { return a(); }' >"$work/planted/src/d.c"
for file in a b c d; do
    "$CC" -c -o "$work/planted_obj/src/$file.o" "$work/planted/src/$file.c" || exit 1
done
dependences "$work/planted" "$work/planted_obj" | circles | tr '\n' ' ' >"$work/found"
[ "$(cat "$work/found")" = "src/a -> src/b src/b -> src/c src/c -> src/a " ] ||
    { echo "a circle of three files was planted; found: $(cat "$work/found")"; exit 1; }
