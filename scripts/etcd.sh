#!/usr/bin/env bash
# Put etcd where the measurements find it:  scripts/etcd.sh LINK
# Links the etcd on the PATH, else unpacks that of this Debian into .cache; it needs no root and installs nothing. Where
# neither can be had nothing is measured beside it.
set -euo pipefail

link=$1
rm -f "$link"
hash -r

if found=$(command -v etcd); then
  ln -s "$(readlink -f "$found")" "$link"
  echo "etcd from $found"
  exit 0
fi

. "$(dirname "$0")/debian.sh"
folder=$PWD/.cache/etcd
suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-trixie}")
echo "etcd is not on the PATH: taking Debian's"
if unpack_from_debian "$suite" "$folder" etcd-server; then
  rm -f "$folder"/*.deb
  ln -s "$folder/usr/bin/etcd" "$link"
  "$link" --version | head -n 1
  exit 0
fi
echo "etcd is missing, and could not be fetched here: nothing will be measured beside it." >&2
