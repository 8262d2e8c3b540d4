# Sourced by the scripts that take a tool from Debian without root:
#   unpack_from_debian PACKAGE SUITE FOLDER
# Downloads a package from the mirror and with the keys that apt is set up with, and unpacks it; nothing is installed.

unpack_from_debian() {
  local package=$1 suite=$2 folder=$3 mirror keyring=/usr/share/keyrings/debian-archive-keyring.gpg
  [[ -r $keyring ]] && command -v apt-get dpkg-deb >/dev/null || return 1
  mirror=$(grep -rhsoE 'https?://[^ ]+/debian/?( |$)' /etc/apt/sources.list /etc/apt/sources.list.d | head -n 1) || true
  [[ -n $mirror ]] || return 1
  rm -rf "$folder"
  mkdir -p "$folder"/{state/lists,cache/archives}/partial
  echo "deb [signed-by=$keyring] $mirror $suite main" >"$folder/sources.list"
  : >"$folder/status" # as if nothing were installed, so that apt looks at no other version
  local apt=(apt-get -qq -o APT::Sandbox::User="$(id -un)"
    -o Dir::Etc::sourcelist="$folder/sources.list" -o Dir::Etc::sourceparts=-
    -o Dir::State="$folder/state" -o Dir::State::status="$folder/status" -o Dir::Cache="$folder/cache")
  "${apt[@]}" update && (cd "$folder" && "${apt[@]}" download "$package" && dpkg-deb -x "$package"_*.deb .)
}
