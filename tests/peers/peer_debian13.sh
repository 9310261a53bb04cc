#!/bin/sh
# A bare Debian 13 (oneDNN 3.x): bootstrap, build and test there. Needs root, debootstrap and the mirror that apt uses.
# MOCO_DEBIAN13: a folder to keep the chroot in between runs (default: made and removed).
set -u
[ "$(id -u)" -eq 0 ] || { echo "SKIPPED: chroot needs root"; exit 0; }
command -v debootstrap >/dev/null 2>&1 || { echo "SKIPPED: debootstrap is not installed"; exit 0; }
mirror=$(apt-get indextargets --format '$(REPO_URI)' 2>/dev/null | grep -v security | head -n 1)
[ -n "$mirror" ] || { echo "SKIPPED: apt has no mirror configured"; exit 0; }
root=${MOCO_DEBIAN13:-$(mktemp -d)}
cleanup() {
    umount "$root/proc" 2>/dev/null
    [ -n "${MOCO_DEBIAN13:-}" ] || rm -rf --one-file-system "$root"
}
trap cleanup EXIT
if [ ! -e "$root/etc/debian_version" ]; then
    debootstrap --variant=minbase --include=ca-certificates,git trixie "$root" "$mirror" >"$root.log" 2>&1 ||
        { tail -n 20 "$root.log"; rm -f "$root.log"; echo "debootstrap failed"; exit 1; }
    rm -f "$root.log"
fi
# The way out that this machine uses: proxies and their certificates.
cp /etc/resolv.conf "$root/etc/resolv.conf" 2>/dev/null
cp -r /etc/apt/apt.conf.d/. "$root/etc/apt/apt.conf.d/" 2>/dev/null
mkdir -p "$root/etc/ssl/certs" && cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/" 2>/dev/null
mount -t proc proc "$root/proc" 2>/dev/null || mkdir -p "$root/proc"
rm -rf "$root/src" && mkdir "$root/src" && git archive HEAD | tar -x -C "$root/src" || exit 1
chroot "$root" /usr/bin/env PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root MOCO_TEST_REQUIRE=0 \
    sh -c 'cd /src && ./bootstrap test' >"$root/test.log" 2>&1
status=$?
# What skips in there lacks a package or data that this script does not bring: reported, but not a skip of this script.
sed 's/^SKIPPED: /in the chroot, skipped: /' "$root/test.log"
exit $status
