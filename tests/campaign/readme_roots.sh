#!/bin/sh
# The commands of README.md (tests/peers/readme_commands.sh) on a bare Debian 12 and a bare Debian 13, by root without sudo
# and by a user with sudo: four runs, each of which installs the packages and builds. Needs root, debootstrap, the mirror
# that apt uses, and about 20 minutes of two cores.
# What a reader would get wrong: the committed source is what is tried, HEAD, not what lies in the folder.
#
#   tests/campaign/readme_roots.sh [SUITE:USER...]     (all: bookworm:root bookworm:user trixie:root trixie:user)
#   MOCO_ROOTS: a folder to keep bare systems in between runs (default: made and removed)
set -u
: "${BUILD:=build}"
. tests/peers/debian_root.sh
debian_mirror
roots=${MOCO_ROOTS:-$(mktemp -d)}
root=$roots/tried
failed=0
cleanup() {
    debian_leave "$root"
    for bare in "$roots"/*.bare; do
        debian_leave "$bare"
    done
    rm -rf --one-file-system "$root"
    [ -n "${MOCO_ROOTS:-}" ] || rm -rf --one-file-system "$roots"
}
trap cleanup EXIT
trap 'exit 1' INT TERM
[ $# -gt 0 ] || set -- bookworm:root bookworm:user trixie:root trixie:user
for run; do
    suite=${run%:*} user=${run#*:}
    debian_root "$suite" "$roots/$suite.bare" || exit 1
    debian_leave "$roots/$suite.bare"
    rm -rf --one-file-system "$root" && cp -a "$roots/$suite.bare" "$root" && debian_root "$suite" "$root" || exit 1
    mkdir -p "$root/data/imagenet" && "$BUILD/tests/train/tool_draw" "$root/data/imagenet" 256 48 || exit 1
    case $user in
    root)
        debian_source "$root/root/libmoco" || exit 1
        in_debian "$root" 'cd /root/libmoco && tests/peers/readme_commands.sh' ;;
    *)
        debian_source "$root/home/user/libmoco" || exit 1
        in_debian "$root" 'apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends sudo &&
            useradd -s /bin/sh user && echo "user ALL=(ALL) NOPASSWD: ALL" >/etc/sudoers.d/user &&
            chown -R user:user /home/user' >"$root.log" 2>&1 || { tail "$root.log"; exit 1; }
        rm -f "$root.log"
        in_debian "$root" 'su - user -c "cd libmoco && tests/peers/readme_commands.sh"' ;;
    esac
    status=$?
    echo "$run: $([ $status -eq 0 ] && echo ok || echo FAILED)"
    [ $status -eq 0 ] || failed=1
    debian_leave "$root"
done
exit $failed
