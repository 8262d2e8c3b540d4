#!/usr/bin/env bash
# Put the load generator wrk where the tests find it:  scripts/wrk.sh LINK
# Links the wrk on the PATH, else unpacks that of this Debian into .cache; it needs no root and installs nothing.
set -euo pipefail

link=$1
rm -f "$link"
hash -r

if found=$(command -v wrk); then
  ln -s "$(readlink -f "$found")" "$link"
  echo "wrk from $found"
  exit 0
fi

. "$(dirname "$0")/debian.sh"
folder=$PWD/.cache/wrk
suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-trixie}")
echo "wrk is not on the PATH: taking Debian's"
if unpack_from_debian "$suite" "$folder" wrk libluajit-5.1-2 libluajit-5.1-common; then
  libraries=$(dirname "$(find "$folder/usr/lib" -name 'libluajit-5.1.so.2' | head -n 1)")
  printf '#!/bin/sh\nLD_LIBRARY_PATH="%s" exec "%s" "$@"\n' "$libraries" "$folder/usr/bin/wrk" >"$link"
  chmod +x "$link"
  "$link" --version | head -n 1 || true # its exit code is 1
  exit 0
fi
echo "The tests under load need wrk on the PATH, and none could be fetched here." >&2
echo "Install Debian's package wrk, then run make again." >&2
exit 1
