# shellcheck shell=sh
# A bare Debian in a folder, for scripts that source this: needs root, debootstrap and the mirror that apt uses.

# The mirror; where there cannot be a root, says why as a test does and ends the script.
debian_mirror() {
    [ "$(id -u)" -eq 0 ] || { echo "SKIPPED: chroot needs root"; exit 0; }
    command -v debootstrap >/dev/null 2>&1 || { echo "SKIPPED: debootstrap is not installed"; exit 0; }
    # shellcheck disable=SC2016
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 2>/dev/null | grep -v security | head -n 1)
    [ -n "$mirror" ] || { echo "SKIPPED: apt has no mirror configured"; exit 0; }
}

# debian_root SUITE FOLDER: makes it, if it is not there, and mounts /proc and terminals in it.
debian_root() {
    if [ ! -e "$2/etc/debian_version" ]; then
        debootstrap --variant=minbase --include=ca-certificates,git "$1" "$2" "$mirror" >"$2.log" 2>&1 ||
            { tail -n 20 "$2.log"; rm -f "$2.log"; echo "debootstrap failed"; return 1; }
        rm -f "$2.log"
    fi
    # The way out that this machine uses: proxies and their certificates.
    cp /etc/resolv.conf "$2/etc/resolv.conf" 2>/dev/null
    cp -r /etc/apt/apt.conf.d/. "$2/etc/apt/apt.conf.d/" 2>/dev/null
    mkdir -p "$2/etc/ssl/certs" && cp -L /etc/ssl/certs/ca-certificates.crt "$2/etc/ssl/certs/" 2>/dev/null
    printf '127.0.0.1 localhost %s\n' "$(hostname)" >"$2/etc/hosts" # sudo asks for it
    mount -t proc proc "$2/proc" 2>/dev/null || mkdir -p "$2/proc"
    mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts "$2/dev/pts" 2>/dev/null || true
}

# debian_leave FOLDER: takes the mounts away.
debian_leave() {
    umount "$1/proc" 2>/dev/null
    umount "$1/dev/pts" 2>/dev/null
    true
}

# debian_source FOLDER: the committed source, there.
debian_source() {
    rm -rf "$1" && mkdir -p "$1" && git archive HEAD | tar -x -C "$1"
}

# in_debian FOLDER COMMAND: with the environment of a login, and nothing of ours.
in_debian() {
    chroot "$1" /usr/bin/env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root \
        MOCO_TEST_REQUIRE=0 sh -c "$2"
}
