#!/usr/bin/env bash
# Put a C compiler where the tests find it:  scripts/gcc.sh LINK
# Links the gcc on the PATH, else unpacks that of this Debian into .cache; it needs no root and installs nothing. Where
# neither can be had the tests of native filters are skipped.
set -euo pipefail

link=$1
rm -f "$link"
hash -r

if found=$(command -v gcc); then
  ln -s "$(readlink -f "$found")" "$link"
  echo "gcc from $found"
  exit 0
fi

. "$(dirname "$0")/debian.sh"
folder=$PWD/.cache/gcc
suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-trixie}")
case $suite in
  bookworm) version=12 gprofng=libgprofng0 sframe= ;;
  *) version=14 gprofng=libgprofng0 sframe=libsframe1 ;;
esac
echo "gcc is not on the PATH: taking Debian's"
case $(uname -m) in
  x86_64) triple=x86_64-linux-gnu binutils=binutils-x86-64-linux-gnu ;;
  aarch64) triple=aarch64-linux-gnu binutils=binutils-aarch64-linux-gnu ;;
  *) triple= ;;
esac
# shellcheck disable=SC2086 # $sframe is one package or none
if [[ -n $triple ]] && unpack_from_debian "$suite" "$folder" "gcc-$version" "cpp-$version" "libgcc-$version-dev" \
  "$binutils" libbinutils libctf0 libctf-nobfd0 $gprofng $sframe libjansson4 libisl23 libmpc3 libmpfr6 libgmp10 \
  libzstd1 zlib1g libc6 libc6-dev linux-libc-dev libgcc-s1; then
  for tool in "$folder/usr/bin/$triple"-*; do
    [[ -e $folder/usr/bin/${tool##*/"$triple"-} ]] || ln -s "${tool##*/}" "$folder/usr/bin/${tool##*/"$triple"-}"
  done
  [[ -e $folder/lib ]] || ln -s usr/lib "$folder/lib"
  [[ -e $folder/lib64 ]] || ln -s usr/lib64 "$folder/lib64"
  cat >"$link" <<WRAPPER
#!/bin/sh
export PATH="$folder/usr/bin:\$PATH" LD_LIBRARY_PATH="$folder/usr/lib/$triple"
exec "$folder/usr/bin/gcc-$version" --sysroot="$folder" "\$@"
WRAPPER
  chmod +x "$link"
  "$link" --version | head -n 1
  exit 0
fi
echo "gcc is missing, and none could be fetched here: the tests of native filters will be skipped." >&2
echo "Install Debian's packages gcc and libc6-dev, then run make again, to have them run." >&2
