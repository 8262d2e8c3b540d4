#!/usr/bin/env bash
# Put podman where the tests find it:  scripts/podman.sh LINK
# Links the podman on the PATH, else unpacks that of this Debian into .cache, with what it runs containers with, and a
# small Python for a base image; it needs no root and installs nothing. Where none can be had, or containers can't be run,
# the tests of functions in containers are skipped.
set -euo pipefail

link=$1
rm -f "$link"
hash -r

. "$(dirname "$0")/debian.sh"
suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-trixie}")
case $suite in
  bookworm) version=3.11 t64= gpgme=libgpgme11 subid=libsubid4 devmapper=libdevmapper1.02.1 ;;
  *) version=3.13 t64=t64 gpgme=libgpgme11t64 subid=libsubid5 devmapper=libdevmapper1.02.1 ;;
esac

rootfs=$PWD/.cache/python-rootfs
if unpack_from_debian "$suite" "$rootfs" python3-minimal "python$version-minimal" "libpython$version-minimal" \
  "libpython$version-stdlib" libc6 zlib1g libexpat1 libbz2-1.0 liblzma5 libffi8; then
  (
    cd "$rootfs"
    rm -rf ./*.deb state cache status sources.list usr/share usr/lib/*/gconv usr/lib/python3*/EXTERNALLY-MANAGED \
      usr/lib/python3*/{test,unittest,pydoc_data,turtle.py,doctest.py}
    [[ -e lib ]] || ln -s usr/lib lib
    [[ -e lib64 ]] || ln -s usr/lib64 lib64
    mkdir -p etc proc sys dev tmp root var
    chmod 1777 tmp
  )
else
  rm -rf "$rootfs"
  echo "A Python for a base image could not be fetched: the tests of functions in containers will be skipped." >&2
fi

if found=$(command -v podman); then
  ln -s "$(readlink -f "$found")" "$link"
  echo "podman from $found"
  exit 0
fi

folder=$PWD/.cache/podman
echo "podman is not on the PATH: taking Debian's"
if [[ -d $rootfs ]] && unpack_from_debian "$suite" "$folder" podman runc conmon slirp4netns libslirp0 "$gpgme" \
  libassuan0 "$subid" "$devmapper" libseccomp2 libyajl2 libglib2.0-0"$t64"; then
  rm -f "$folder"/*.deb
  cat >"$link" <<WRAPPER
#!/bin/sh
export LD_LIBRARY_PATH="$(echo "$folder"/usr/lib/*-linux-gnu):$(echo "$folder"/lib/*-linux-gnu)"
export PATH="$folder/usr/bin:$folder/usr/sbin:$folder/usr/lib/podman:\$PATH"
exec "$folder/usr/bin/podman" "\$@"
WRAPPER
  chmod +x "$link"
  "$link" --version
  exit 0
fi
echo "podman is missing, and could not be fetched here: the tests of functions in containers will be skipped." >&2
echo "Install Debian's packages podman, runc and slirp4netns, then run make again, to have them run." >&2
