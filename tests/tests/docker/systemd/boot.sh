#!/bin/sh
# Becomes a machine with systemd: boot.sh DIRECTORY CGROUP. The caller is in the lab's host namespace. systemd is process 1 of
# namespaces of its own and manages CGROUP, which it sees as the root; of units it knows the empty ones in DIRECTORY/units.
set -eu
directory=$1
cgroup=$2

mkdir -p "$directory/units"
for unit in default basic sysinit shutdown; do
    printf '[Unit]\nDescription=nothing\n' >"$directory/units/$unit.target"
done
echo $$ >"$cgroup/cgroup.procs"
exec unshare --mount --pid --fork --kill-child --cgroup --ipc --uts --mount-proc sh -c '
    mount --make-rprivate /
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
    mount -t tmpfs tmpfs /run
    mkdir -p /run/lock
    exec env -i container=docker SYSTEMD_UNIT_PATH="$1/units" PATH=/usr/sbin:/usr/bin:/sbin:/bin \
        /lib/systemd/systemd --system --log-target=console --show-status=no
' sh "$directory"
