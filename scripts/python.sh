#!/usr/bin/env bash
# Make a virtual environment:  PYTHON=python3 scripts/python.sh FOLDER
# Takes the first Python of $PYTHON, python3.13, python3.12, python3.11 that is 3.11 or newer.
set -euo pipefail

folder=$1
found=
for candidate in "${PYTHON:-python3}" python3.13 python3.12 python3.11; do
  if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    found=$candidate
    break
  fi
done
if [[ -z $found ]]; then
  echo "Skerry needs Python 3.11 or newer; none of ${PYTHON:-python3}, python3.13, python3.12, python3.11 is." >&2
  echo "Install one, or name it: make PYTHON=/path/to/python3.11 setup" >&2
  exit 1
fi
if ! "$found" -c 'import venv, ensurepip' 2>/dev/null; then
  echo "$("$found" --version) has no venv module. On Debian: apt-get install python3-venv" >&2
  exit 1
fi
"$found" -m venv "$folder"
"$folder/bin/python" --version
