#!/usr/bin/env bash
# boot.sh -- `boot.sh ROOT`: the Debian in directory ROOT as a machine of its own, its systemd as process 1, until that
# powers off.  It shares this host's network and clock, and nothing else.  All mounts end with it.
set -euo pipefail

# Among the namespaces' first processes: what systemd asks of a container, then systemd.
inside() {
        local root=$1 device
        umount "$root/sys/fs/cgroup"
        mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup" # this time with our own group as its root
        mount -t proc proc "$root/proc"
        mount --bind "$root/proc/sys" "$root/proc/sys"
        mount -o remount,bind,ro "$root/proc/sys" # of the host
        mount -t tmpfs -o mode=755 tmpfs "$root/dev"
        for device in null zero full random urandom tty; do
                touch "$root/dev/$device"
                mount --bind "/dev/$device" "$root/dev/$device"
        done
        mkdir "$root/dev/shm" "$root/dev/pts"
        mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
        ln -s pts/ptmx "$root/dev/ptmx"
        ln -s /proc/self/fd "$root/dev/fd"
        ln -s fd/0 "$root/dev/stdin"
        ln -s fd/1 "$root/dev/stdout"
        ln -s fd/2 "$root/dev/stderr"
        mount -t tmpfs -o mode=755 tmpfs "$root/run"
        mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
        cd "$root"
        pivot_root . mnt
        umount -l /mnt
        mount --make-rshared /
        exec env -i container=pinroute PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --show-status=no
}

outside() {
        local root=$1 group
        mount --bind "$root" "$root"
        mount -t sysfs -o ro sysfs "$root/sys"
        mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
        group=$root/sys/fs/cgroup/pinroute-$$
        mkdir "$group"
        (
                echo "$BASHPID" >"$group/cgroup.procs"
                exec setpriv --pdeathsig KILL unshare --mount --pid --ipc --uts --cgroup --fork --kill-child "$0" --inside "$root"
        ) || true # how its first process ended is nothing to go by
        find "$group" -depth -type d -exec rmdir {} \;
}

case $1 in
--inside) inside "$2" ;;
--outside) outside "$2" ;;
*) exec unshare --mount --propagation private "$0" --outside "$(readlink -f "$1")" ;;
esac
