# Sourced by the scripts that take a tool from Debian without root:
#   unpack_from_debian SUITE FOLDER PACKAGE...
# Downloads packages from the mirror and with the keys that apt is set up with, and unpacks them; nothing is installed.

unpack_from_debian() (
  local suite=$1 folder=$2 mirror package keyring=/usr/share/keyrings/debian-archive-keyring.gpg
  [[ -r $keyring ]] && command -v apt-get dpkg-deb >/dev/null || return 1
  mirror=$(grep -rhsoE 'https?://[^ ]+/debian/?( |$)' /etc/apt/sources.list /etc/apt/sources.list.d | head -n 1) || true
  [[ -n $mirror ]] || return 1
  shift 2
  rm -rf "$folder"
  mkdir -p "$folder"/{state/lists,cache/archives}/partial
  echo "deb [signed-by=$keyring] $mirror $suite main" >"$folder/sources.list"
  : >"$folder/status" # as if nothing were installed, so that apt looks at no other version
  local apt=(apt-get -qq -o APT::Sandbox::User="$(id -un)"
    -o Dir::Etc::sourcelist="$folder/sources.list" -o Dir::Etc::sourceparts=-
    -o Dir::State="$folder/state" -o Dir::State::status="$folder/status" -o Dir::Cache="$folder/cache")
  "${apt[@]}" update && cd "$folder" && "${apt[@]}" download "$@" || return 1
  for package in *.deb; do dpkg-deb -x "$package" . || return 1; done
)
