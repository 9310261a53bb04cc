#!/bin/sh
# No public function is left out of test_misuse_*.c.
failed=0 count=0
for symbol in $(sed -n 's/^ *\(moco_[a-z0-9_]*\);$/\1/p' src/api/moco.map); do
    count=$((count + 1))
    grep -qw -e "$symbol" -e "${symbol%_sized}" tests/robust/misuse/test_misuse_*.c || { echo "$symbol is not misused"; failed=1; }
done
[ $count -gt 80 ] || { echo "only $count symbols in src/api/moco.map"; failed=1; }
exit $failed
