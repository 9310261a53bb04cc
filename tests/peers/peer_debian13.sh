#!/bin/sh
# A bare Debian 13 (oneDNN 3.x): bootstrap, build and test there, then the commands of README.md, as root; and exported files
# in the hands of its torch (2.6, which maps files) and of timm and transformers as pip brings them. As another user,
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
in_debian "$root" 'cd /src && PLANTED=0 ./bootstrap test' >"$root/test.log" 2>&1 # what is planted is found, or not, on any system
status=$?
# What skips in there lacks a package or data that this script does not bring: reported, but not a skip of this script.
sed 's/^SKIPPED: /in the chroot, skipped: /' "$root/test.log"
[ $status -eq 0 ] || exit $status
# Files for the readers below, before README's commands build everything again with other folders.
in_debian "$root" 'cd /src && rm -rf /files && mkdir /files && make -s build/tests/peers/tool_export build/examples/convert &&
    build/tests/peers/tool_export /files && build/examples/convert /files/state.pth.tar /files/state.safetensors &&
    build/examples/convert /files/state.safetensors /files/back.pth.tar' || exit 1
rm -rf "$root/data" && mkdir -p "$root/data/imagenet" && "$BUILD/tests/train/tool_draw" "$root/data/imagenet" 256 48 || exit 1
in_debian "$root" 'cd /src && tests/peers/readme_commands.sh' >"$root/readme.log" 2>&1
status=$?
cat "$root/readme.log"
[ $status -eq 0 ] || exit $status
in_debian "$root" 'export DEBIAN_FRONTEND=noninteractive
    apt-get install -y -qq --no-install-recommends python3-torch python3-torchvision python3-venv libopenblas0-pthread &&
    python3 -m venv --system-site-packages /opt/peers &&
    /opt/peers/bin/pip install -q --disable-pip-version-check timm transformers safetensors' >"$root/peers.log" 2>&1 ||
    { tail -n 20 "$root/peers.log"; exit 1; }
in_debian "$root" 'cd /src && /opt/peers/bin/python -W ignore tests/peers/export_torch.py /files 64 modern'
