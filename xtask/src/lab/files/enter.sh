#!/bin/sh
# Runs a program in the lab's host namespace as if on a machine of its own: enter.sh STATE PROGRAM [ARGUMENT..]
# The caller (Lab::host_command) has already entered the network namespace and a private mount namespace.
# Only files that decide how names are resolved are replaced; /sys, cgroups and everything else stay the machine's,
# which is why `ip netns exec` (it mounts a fresh /sys, without cgroups) is not used.
set -eu
state=$1
shift
for file in resolv.conf nsswitch.conf hosts; do
    if [ -e "/etc/$file" ]; then
        mount --bind "$state/$file" "/etc/$file"
    elif [ "$file" = resolv.conf ]; then
        echo "lab: /etc/resolv.conf does not exist on this machine; create it (an empty one will do)" >&2
        exit 1
    fi
done
# Resolver daemons are reached over Unix sockets and would ask the real network on behalf of the lab.
for socket_dir in /run/nscd /run/systemd/resolve; do
    if [ -d "$socket_dir" ]; then
        mount -t tmpfs -o mode=755 lab "$socket_dir"
        cp "$state/resolv.conf" "$socket_dir/stub-resolv.conf"
        cp "$state/resolv.conf" "$socket_dir/resolv.conf"
    fi
done
exec "$@"
