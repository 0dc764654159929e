# Packs a fresh root without what no container needs, and without a word about where it came from: strip.sh ROOT ARCHIVE.
set -eu
cd "$1"
find usr/share/doc -type f ! -name copyright -delete
find usr/share/man usr/share/info usr/share/locale var/cache var/log var/lib/apt/lists -type f -delete
rm -f etc/apt/sources.list etc/apt/sources.list.d/* etc/hostname etc/resolv.conf
# Numbers, because the names of users differ between machines; no devices, because the engine makes its own.
tar --create --file "$2" --numeric-owner --one-file-system --exclude './dev/*' .
