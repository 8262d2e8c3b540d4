"""Every kind that is served right now: those that Skerry brings, and those that definitions make.

    catalogue = Catalogue(KINDS)
    kind = catalogue.current.find("example.com", "v1", "widgets")

`current` is an immutable snapshot; a change puts another one in its place, at once and whole. Who keeps something made
of a snapshot (discovery, OpenAPI) compares the snapshot that it was made of with the current one. Nobody waits for
anybody, and a request that has taken a snapshot ends with it. Pure, but for the one attribute.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from skerry.api.kinds import Kind


class Kinds:
    """A snapshot.

    Attributes:
        all: every kind, in the order in which discovery lists them.
        of_resources: one kind for each resource, that of the version in which its objects are stored.
    """

    def __init__(self, kinds: Iterable[Kind[Any]]) -> None:
        self._by_path: dict[tuple[str, str, str], Kind[Any]] = {}
        by_resource: dict[str, Kind[Any]] = {}
        for kind in kinds:
            if self._by_path.setdefault((kind.group, kind.version, kind.plural), kind) is kind:
                known = by_resource.setdefault(kind.resource, kind)
                if known is not kind and kind.api_version == kind.stored_api_version:
                    by_resource[kind.resource] = kind
        self.all: tuple[Kind[Any], ...] = tuple(self._by_path.values())
        self.of_resources: Mapping[str, Kind[Any]] = by_resource

    def find(self, group: str, version: str, plural: str) -> Kind[Any] | None:
        """Return the kind that a path names, or None."""
        return self._by_path.get((group, version, plural))


class Catalogue:
    """The kinds as they are now.

    Args:
        built_in: the kinds that are always there.
    """

    def __init__(self, built_in: Sequence[Kind[Any]]) -> None:
        self.built_in = tuple(built_in)
        self.current = Kinds(self.built_in)
        self._custom: dict[str, tuple[Kind[Any], ...]] = {}
        self._listeners: list[Callable[[], None]] = []

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call `listener` after every change; it must not block."""
        self._listeners.append(listener)

    def replace(self, custom: Mapping[str, tuple[Kind[Any], ...]]) -> None:
        """Set the kinds of every definition, by the definition's name."""
        own = {kind.resource for kind in self.built_in}
        self._custom = {name: kinds for name, kinds in custom.items() if name not in own}
        ordered = sorted(self._custom.items())
        self.current = Kinds([*self.built_in, *(kind for _, kinds in ordered for kind in kinds)])
        for listener in tuple(self._listeners):
            listener()

    def put(self, definition: str, kinds: tuple[Kind[Any], ...]) -> None:
        """Set the kinds of one definition; with none, they are gone."""
        others = {name: known for name, known in self._custom.items() if name != definition}
        self.replace(others | {definition: kinds} if kinds else others)
