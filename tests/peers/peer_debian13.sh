#!/bin/sh
# A bare Debian 13 (oneDNN 3.x): bootstrap, build and test there, then the commands of README.md, as root. As another user,
# and on Debian 12, too: tests/campaign/readme_roots.sh. Needs root, debootstrap and the mirror that apt uses.
# MOCO_DEBIAN13: a folder to keep the chroot in between runs (default: made and removed).
set -u
: "${BUILD:=build}"
. tests/peers/debian_root.sh
debian_mirror
root=${MOCO_DEBIAN13:-$(mktemp -d)}
cleanup() {
    debian_leave "$root"
    [ -n "${MOCO_DEBIAN13:-}" ] || rm -rf --one-file-system "$root"
}
trap cleanup EXIT
trap 'exit 1' INT TERM
debian_root trixie "$root" && debian_source "$root/src" || exit 1
in_debian "$root" 'cd /src && ./bootstrap test' >"$root/test.log" 2>&1
status=$?
# What skips in there lacks a package or data that this script does not bring: reported, but not a skip of this script.
sed 's/^SKIPPED: /in the chroot, skipped: /' "$root/test.log"
[ $status -eq 0 ] || exit $status
rm -rf "$root/data" && mkdir -p "$root/data/imagenet" && "$BUILD/tests/train/tool_draw" "$root/data/imagenet" 256 48 || exit 1
in_debian "$root" 'cd /src && tests/peers/readme_commands.sh' >"$root/readme.log" 2>&1
status=$?
cat "$root/readme.log"
exit $status
