"""Add to a package-lock.json what `npm install` left out.

    python scripts/complete_package_lock.py FILE

npm leaves optional packages of other platforms out of the lock where the index at hand does not carry them, and
`npm ci` then refuses the lock, on every platform. Their entries need only a version and the platform: npm skips
an optional package of a foreign platform before it fetches anything.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

PLATFORM = re.compile(r"-(?P<os>android|darwin|freebsd|linux|openharmony|win32)-(?P<cpu>\w+)(-(?P<libc>gnu|musl))?")
LIBC = {"gnu": "glibc", "musl": "musl"}


def missing(packages: dict[str, Any]) -> dict[str, str]:
    """Return the version of every optional dependency without an entry, by name."""
    present = {path.rpartition("node_modules/")[2] for path in packages}
    wanted = {name: version for entry in packages.values() for name, version in optional(entry).items()}
    return {name: version for name, version in wanted.items() if name not in present}


def optional(entry: dict[str, Any]) -> dict[str, str]:
    """Return the optional dependencies of an entry."""
    found: dict[str, str] = entry.get("optionalDependencies", {})
    return found


def foreign_package(name: str, version: str) -> dict[str, Any]:
    """Return the entry of a package for one platform, read from its name."""
    entry: dict[str, Any] = {"version": version, "optional": True}
    platform = PLATFORM.search(name)
    if platform is None:
        return entry | {"cpu": ["wasm32"]}
    entry |= {"os": [platform["os"]], "cpu": [platform["cpu"]]}
    return entry | ({"libc": [LIBC[platform["libc"]]]} if platform["libc"] else {})


def main(path: Path) -> None:
    """Complete one lock file in place."""
    lock = json.loads(path.read_text())
    for name, version in missing(lock["packages"]).items():
        lock["packages"][f"node_modules/{name}"] = foreign_package(name, version)
    lock["packages"] = dict(sorted(lock["packages"].items()))
    path.write_text(json.dumps(lock, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
