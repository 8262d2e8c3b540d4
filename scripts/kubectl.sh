#!/usr/bin/env bash
# Put a kubectl where the system tests find it:  scripts/kubectl.sh LINK
# Links the one on the PATH, else unpacks the kubectl of Debian 13 into .cache, from the mirror and with the keys
# that apt is set up with; it needs no root and installs nothing. (Debian 12's own is 1.20, which is too old.)
set -euo pipefail

link=$1
rm -f "$link"
hash -r

if found=$(command -v kubectl); then
  found=$(readlink -f "$found")
  # Google's SDK installs a dispatcher that asks the server which kubectl to start, with those lying beside it.
  if [[ -x $found.1.32 ]]; then found=$found.1.32; fi
  ln -s "$found" "$link"
  echo "kubectl from $found"
  exit 0
fi

. "$(dirname "$0")/debian.sh"
folder=$PWD/.cache/kubectl
echo "kubectl is not on the PATH: taking Debian's"
if unpack_from_debian trixie "$folder" kubectl; then
  ln -s "$folder/usr/bin/kubectl" "$link"
  "$link" version --client
  exit 0
fi
echo "The system tests need kubectl 1.27 or newer on the PATH, and none could be fetched here." >&2
echo "See https://kubernetes.io/docs/tasks/tools/, then run make again." >&2
exit 1
