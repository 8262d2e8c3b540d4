#!/usr/bin/env bash
# Put an OCI registry where the tests find it:  scripts/registry.sh LINK
# Links the docker-registry on the PATH, else unpacks that of this Debian into .cache; it needs no root and installs
# nothing.
set -euo pipefail

link=$1
rm -f "$link"
hash -r

if found=$(command -v docker-registry); then
  ln -s "$(readlink -f "$found")" "$link"
  echo "docker-registry from $found"
  exit 0
fi

. "$(dirname "$0")/debian.sh"
folder=$PWD/.cache/docker-registry
suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-trixie}")
echo "docker-registry is not on the PATH: taking Debian's"
if unpack_from_debian "$suite" "$folder" docker-registry; then
  ln -s "$folder/usr/bin/docker-registry" "$link"
  "$link" --version
  exit 0
fi
echo "The tests of fetching need docker-registry on the PATH, and none could be fetched here." >&2
echo "Install Debian's package docker-registry, then run make again." >&2
exit 1
