"""What a package.json asks for, and what a package-lock.json has decided: read, and checked.

Both come with a function's source, so nothing in them is trusted: a dependency is a package of the configured registry,
at a version, with its sha512. Whatever names another place (a URL, a git repository, a folder) is refused, since it
would be fetched by the control plane, from wherever the author likes. Pure.

The format of the lock: https://docs.npmjs.com/cli/v11/configuring-npm/package-lock-json, lockfileVersion 2 and 3.
"""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from skerry.api.apoxy_function_code import PACKAGE_NAME, PACKAGE_VERSION
from skerry.artifacts.errors import BuildError, Diagnostic

MANIFEST, LOCK = "package.json", "package-lock.json"
#: Packages of one function, those that its packages ask for included.
PACKAGES_MAX = 1000

_ALIAS = re.compile(r"npm:(?P<name>(?:@[^@/]+/)?[^@/]+)(?:@(?P<version>.*))?")
_PLACE = re.compile(r"(?:(?:^|/)node_modules/(?:@[^/@]+/)?[^/@]+)+", re.ASCII)
_SHA512 = "sha512-"


@dataclass(frozen=True, slots=True)
class Package:
    """One package of a lock.

    Attributes:
        place: its folder, such as `node_modules/a/node_modules/@scope/b`.
        name: in the registry.
        version: exactly.
        sha512: of its tarball.
        resolved: where its tarball was when the lock was written; "" where the lock does not say.
    """

    place: str
    name: str
    version: str
    sha512: bytes
    resolved: str = ""


def dependencies_of(files: Mapping[str, str]) -> dict[str, str]:
    """Return what the package.json among a function's files asks for, by name; raises BuildError."""
    if MANIFEST not in files:
        return {}
    manifest = _object(files[MANIFEST], MANIFEST)
    wanted = manifest.get("dependencies") or {}
    if not isinstance(wanted, dict):
        raise _fault(MANIFEST, "dependencies must be an object")
    faults = [Diagnostic(wrong, MANIFEST) for name, version in wanted.items() if (wrong := _wrong(name, version))]
    if faults:
        raise BuildError(faults)
    return dict(wanted)


def manifest_of(dependencies: Mapping[str, str], files: Mapping[str, str]) -> dict[str, Any]:
    """Return a package.json that asks for the same and says nothing else: no script, no workspace, no folder."""
    overrides = _object(files[MANIFEST], MANIFEST).get("overrides") if MANIFEST in files else None
    texts = overrides.values() if isinstance(overrides, dict) else ()
    if overrides is not None and not all(isinstance(text, str) and PACKAGE_VERSION.fullmatch(text) for text in texts):
        raise _fault(MANIFEST, "overrides must map names of packages to versions")
    return {
        "name": "function",
        "version": "0.0.0",
        "private": True,
        "dependencies": dict(dependencies),
        **({"overrides": overrides} if overrides else {}),
    }


def packages_of(lock: str, dependencies: Mapping[str, str]) -> list[Package]:
    """Return the packages that a lock installs for these dependencies; raises BuildError for each that is refused."""
    document = _object(lock, LOCK)
    entries = document.get("packages")
    if not isinstance(entries, dict) or document.get("lockfileVersion") not in {2, 3}:
        raise _fault(LOCK, "must be of lockfileVersion 2 or 3: write it with npm 7 or newer")
    root = entries.get("")
    locked = root.get("dependencies") if isinstance(root, dict) else None
    if (locked or {}) != dict(dependencies):
        raise _fault(LOCK, "is not that of package.json: run npm install, and add the lock file that it writes")
    wanted = {place: entry for place, entry in entries.items() if place and _is_needed(entry)}
    if len(wanted) > PACKAGES_MAX:
        raise _fault(LOCK, f"{len(wanted)} packages exceed the limit of {PACKAGES_MAX} packages")
    packages, faults = list[Package](), list[Diagnostic]()
    for place, entry in wanted.items():
        try:
            packages.append(_package(place, entry))
        except ValueError as error:
            faults.append(Diagnostic(f"{place[:200]} {error}", LOCK))
    if faults:
        raise BuildError(faults)
    return packages


def _is_needed(entry: Any) -> bool:
    """Leave out what only developing needs, and machine code, which no function can run."""
    if not isinstance(entry, dict):
        raise _fault(LOCK, "packages must be an object of objects")
    return not (entry.get("dev") or entry.get("devOptional") or (entry.get("optional") and _is_native(entry)))


def _is_native(entry: dict[str, Any]) -> bool:
    return any(entry.get(field) for field in ("os", "cpu", "libc"))


def _package(place: str, entry: dict[str, Any]) -> Package:
    if entry.get("link"):
        raise ValueError("is a link to a folder: only packages of the registry are installed")
    if not _PLACE.fullmatch(place) or any(part in {".", ".."} for part in place.split("/")):
        raise ValueError("is no place of a package")
    resolved, version = str(entry.get("resolved") or ""), str(entry.get("version") or "")
    if resolved and not resolved.startswith(("https://", "http://")):
        raise ValueError("is not from a registry: only packages of the registry are installed")
    name = str(entry.get("name") or place.rpartition("node_modules/")[2])
    if not PACKAGE_NAME.fullmatch(name) or not re.fullmatch(r"[0-9A-Za-z.+-]{1,100}", version):
        raise ValueError("has no name and version of a package")
    return Package(place, name, version, _sha512(str(entry.get("integrity") or "")), resolved)


def _sha512(integrity: str) -> bytes:
    for token in integrity.split():
        if token.startswith(_SHA512):
            try:
                return base64.b64decode(token.removeprefix(_SHA512).partition("?")[0], validate=True)
            except binascii.Error:
                break
    raise ValueError("has no sha512 in integrity: write the lock file anew with npm install")


def _wrong(name: Any, version: Any) -> str:
    """Say why a dependency is refused; "" for one of the registry."""
    told = f"the dependency {str(name)[:100]!r} "
    if not isinstance(name, str) or not PACKAGE_NAME.fullmatch(name):
        return told + "has a name that no package of a registry has"
    if isinstance(version, str) and (alias := _ALIAS.fullmatch(version)):
        return "" if PACKAGE_NAME.fullmatch(alias["name"]) and _is_version(alias["version"] or "") else told + _FIX
    return "" if _is_version(version) else told + _FIX


_FIX = "must be a version, a range or a tag of a package of the registry: no URL, repository or folder"


def _is_version(text: Any) -> bool:
    return isinstance(text, str) and (not text or PACKAGE_VERSION.fullmatch(text) is not None)


def _object(text: str, file: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _fault(file, f"not valid JSON: {error}") from error
    if not isinstance(document, dict):
        raise _fault(file, "must be a JSON object")
    return document


def _fault(file: str, message: str) -> BuildError:
    return BuildError([Diagnostic(message, file)])
