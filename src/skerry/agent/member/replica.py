"""The replica: what this node is to run, and all that it needs for that, on its own disk.

    replica/desire.json                          {"apps": [], "sysapps": [], "nodeprops": {}, "gateways": []}
    replica/<kind>/<name>/<version>.json         a resource, as the control plane told it

A node that restarts without its control plane goes on from here. Owns these files. All file work runs on the thread
of its caller: they are small, and few.

Invariant: a file is whole, and on disk, before anything relies on it; but what is to run is known from when it was
told, where the disk has no room for it, too. A node that ends before there is room is told again.
"""

import re
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any

import orjson

from skerry.agent.member.documents import SAFE_NAME, ResourceKind
from skerry.agent.member.errors import LinkError
from skerry.api.model import Document
from skerry.kit.errors import StartError
from skerry.kit.files import make_private_directory, write_private

APPS, SYSTEM_APPS, PROPERTIES, GATEWAYS = "apps", "sysapps", "nodeprops", "gateways"
_DESIRE = "desire.json"

#: Kind, name and version of a resource.
Reference = tuple[ResourceKind, str, str]


class Replica:
    """What this node keeps of its control plane's wishes.

    Args:
        directory: its folder, made when absent; one process at a time may use it.

    Raises:
        StartError: what is there can't be read.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        make_private_directory(directory)
        self._on_disk: Document = self._read_desire()
        self._desire = self._on_disk

    def _read_desire(self) -> Document:
        path = self._directory / _DESIRE
        try:
            found = orjson.loads(path.read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, orjson.JSONDecodeError) as error:
            raise StartError(f"{path} can't be read: remove it to take everything from the control plane") from error
        return found if isinstance(found, dict) else {}

    def wanted(self, part: str) -> dict[str, str]:
        """Return the versions of the applications that are to run, by name; `part` is APPS or SYSTEM_APPS."""
        return {item["name"]: item["version"] for item in self._desire.get(part, ())}

    @property
    def properties(self) -> Mapping[str, Any]:
        """What the control plane set of this node's properties."""
        found: Mapping[str, Any] = self._desire.get(PROPERTIES) or {}
        return found

    @property
    def gateways(self) -> list[str]:
        """The names of the Gateways that this node is to run."""
        found: list[str] = self._desire.get(GATEWAYS) or []
        return found

    def take(self, delta: Document) -> bool:
        """Take what a report was answered, member by member; tell whether anything changed. On disk when it returns.

        Raises:
            LinkError: it is not as a delta should be; nothing of it was taken.
            OSError: it was taken, and is not on disk; the next call tries that again.
        """
        told: Document = {name: _items(delta[name]) for name in (APPS, SYSTEM_APPS) if name in delta}
        if isinstance(delta.get(PROPERTIES), dict):
            told[PROPERTIES] = {key: value for key, value in delta[PROPERTIES].items() if value is not None}
        if isinstance(delta.get(GATEWAYS), list):
            told[GATEWAYS] = [str(name) for name in delta[GATEWAYS]]
        new = {**self._desire, **told}
        changed = new != self._desire
        self._desire = new
        if new != self._on_disk:
            write_private(self._directory / _DESIRE, orjson.dumps(new))
            self._on_disk = new
        return changed

    def find(self, reference: Reference) -> Document | None:
        """Return a resource, or None where it is not here."""
        try:
            found: Document = orjson.loads(self._path(reference).read_bytes())
        except FileNotFoundError:
            return None
        return found

    def keep(self, reference: Reference, document: Document) -> None:
        """Keep a resource; it is on disk when this returns."""
        path = self._path(reference)
        make_private_directory(path.parent)
        write_private(path, orjson.dumps(document))

    def forget_all_but(self, used: AbstractSet[Reference]) -> None:
        """Remove the resources that nothing uses any more."""
        kept = {self._path(reference) for reference in used}
        for path in self._resources():
            if path not in kept:
                path.unlink(missing_ok=True)

    def _resources(self) -> Iterable[Path]:
        return tuple(self._directory.glob("*/*/*.json"))

    def _path(self, reference: Reference) -> Path:
        kind, name, version = reference
        return self._directory / kind / name / f"{version}.json"


def _items(told: Any) -> list[dict[str, str]]:
    """Read which applications are to run; none is an empty list, or, as control planes of Go may have it, null."""
    if not isinstance(told, list | None):
        raise LinkError("the control plane does not name applications by a list")
    return [_item(each) for each in told or ()]


def _item(told: Any) -> dict[str, str]:
    """Read name and version of an application: both become parts of paths."""
    if isinstance(told, dict):
        name, version = str(told.get("name", "")), str(told.get("version", ""))
        if re.fullmatch(SAFE_NAME, name) and re.fullmatch(SAFE_NAME, version):
            return {"name": name, "version": version}
    raise LinkError("the control plane names an application by what can't be a name and a version")
