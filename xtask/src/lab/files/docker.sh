#!/bin/sh
# Becomes the lab's Docker daemon: docker.sh STATE DATA CGROUP. The caller has entered the lab's host namespace and a mount
# namespace of its own (enter.sh), so what is mounted here is seen by the daemon and its containers only.
set -eu
own=$1/docker
data=$2
cgroup=$3

# Docker knows cgroup v2 at one place only. The machine may have it elsewhere, beside v1.
if [ "$(stat --file-system --format=%T /sys/fs/cgroup)" != cgroup2fs ]; then
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
fi
# Everything the daemon starts is born here, so that it can be found and ended even when the daemon is dead.
mkdir -p "/sys/fs/cgroup/$cgroup/daemon"
echo $$ >"/sys/fs/cgroup/$cgroup/daemon/cgroup.procs"

# Places that Docker and containerd write to whatever their options say: a key, plugins' sockets, shims' sockets.
for place in /etc/docker /run/docker /run/containerd; do
    mkdir -p "$place" "$own/places$place"
    mount --bind "$own/places$place" "$place"
done

# Images are ten thousand files, which some disks take half a minute to remove (ext4 with discard, measured); as a file system
# in one file they go at once, and the mount goes with the last process that sees it. No journal: a machine that crashed
# starts afresh. Where there are no loop devices, a directory serves.
mkdir -p "$data/disk"
if [ ! -e "$data/image" ]; then
    truncate --size=16G "$data/new"
    mkfs.ext4 -q -F -m 0 -O ^has_journal -E nodiscard,lazy_itable_init=1 "$data/new" || true
    mv "$data/new" "$data/image"
fi
mount -o loop,noatime "$data/image" "$data/disk" || true

# A kernel without netfilter: networks of containers work, published ports do not.
firewall=true
iptables --table nat --numeric --list >/dev/null || firewall=false

# Not dockerd's own containerd: its configuration, which dockerd writes, would make directories in /opt.
containerd --config "$own/containerd.toml" --address "$own/containerd.sock" \
    --root "$data/disk/containerd" --state "$own/containerd" &
exec dockerd --config-file "$own/daemon.json" --host "unix://$1/docker.sock" --pidfile "$1/docker.pid" \
    --data-root "$data/disk/docker" --exec-root "$own/exec" --containerd "$own/containerd.sock" \
    --cgroup-parent "/$cgroup" --exec-opt native.cgroupdriver=cgroupfs \
    --ip-forward=false --iptables="$firewall"
