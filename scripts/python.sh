#!/usr/bin/env bash
# Make a virtual environment:  [PYTHON=python3] scripts/python.sh FOLDER
# Takes $PYTHON where it is set. Else the first of python3, python3.11, python3.12, python3.13 on the PATH that is new enough
# and can make one; or another there of the same version that was built with optimizations, which takes a tenth to a sixth
# less processor time (docs/concepts/performance.md). An environment of another interpreter is made anew.
set -euo pipefail

folder=$1
here=$(dirname "$0")

candidates() {
  if [[ -n ${PYTHON:-} ]]; then
    echo "$PYTHON"
  else
    type -aP python3 python3.11 python3.12 python3.13 || true # fails where one of them is missing
  fi
}

describe() { "$1" "$here/python_build.py" 2>/dev/null; } # "3.11 optimized"

found="" build=""
while read -r candidate; do
  if [[ $(dirname "$candidate") -ef $folder/bin ]]; then continue; fi # the environment itself, of an earlier time
  described=$(describe "$candidate") || continue
  if [[ -z $found || $described == "${build% *} optimized" ]]; then
    found=$candidate build=$described
  fi
  if [[ $build == *optimized ]]; then break; fi
done < <(candidates)

if [[ -z $found ]]; then
  echo "Skerry needs Python 3.11 or newer that can make virtual environments: not ${PYTHON:-found on the PATH}." >&2
  echo "Install one (Debian has venv in a package of its own), or name it: make PYTHON=/path/to/python3.12 setup" >&2
  exit 1
fi

home() { "$1" -c 'import sys; print(sys.base_prefix, sys.version)' 2>/dev/null; }

clear=""
if [[ $(home "$folder/bin/python") != "$(home "$found")" ]]; then clear=--clear; fi
"$found" -m venv $clear "$folder"
echo "Python $build: $found"
