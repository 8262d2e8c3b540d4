#!/usr/bin/env bash
# Put PostgreSQL's programs where the tests find them:  scripts/postgres.sh FOLDER
# Links the postgres and initdb on the PATH or where Debian installs them, else unpacks those of this Debian into .cache;
# it needs no root and installs nothing. Where neither can be had the tests on PostgreSQL are skipped.
set -euo pipefail

folder_of_links=$1
rm -f "$folder_of_links"/{postgres,initdb}
hash -r

link_from() {
  [[ -x $1/postgres && -x $1/initdb ]] || return 1
  ln -s "$1/postgres" "$folder_of_links/postgres"
  ln -s "$1/initdb" "$folder_of_links/initdb"
  "$folder_of_links/postgres" --version
}

if found=$(command -v postgres); then
  link_from "$(dirname "$(readlink -f "$found")")" && exit 0
fi
for installed in $(ls -dv /usr/lib/postgresql/*/bin 2>/dev/null | tac); do
  link_from "$installed" && exit 0
done

. "$(dirname "$0")/debian.sh"
folder=$PWD/.cache/postgresql
suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-trixie}")
case $suite in
  bookworm) version=15 libraries="libicu72 libldap-2.5-0" ;;
  *) version=17 libraries="libicu76 libldap2 libnuma1" ;;
esac
echo "PostgreSQL is not installed: taking Debian's"
# shellcheck disable=SC2086 # some libraries
if unpack_from_debian "$suite" "$folder" "postgresql-$version" "postgresql-client-$version" libpq5 $libraries libxml2 \
  libsasl2-2 libgssapi-krb5-2 libkrb5-3 libk5crypto3 libkrb5support0 libcom-err2 libkeyutils1; then
  programs=$folder/usr/lib/postgresql/$version/bin
  libraries=$(dirname "$(find "$folder/usr/lib" -name 'libpq.so.5' | head -n 1)")
  for program in postgres initdb; do
    # initdb starts the postgres beside it, which inherits where its libraries are.
    printf '#!/bin/sh\nLD_LIBRARY_PATH="%s" exec "%s" "$@"\n' "$libraries" "$programs/$program" \
      >"$folder_of_links/$program"
    chmod +x "$folder_of_links/$program"
  done
  if "$folder_of_links/postgres" --version; then
    exit 0
  fi
  rm -f "$folder_of_links"/{postgres,initdb}
fi
echo "PostgreSQL is missing, and could not be fetched here: the tests on it will be skipped." >&2
echo "Install Debian's package postgresql, then run make again, to have them run." >&2
