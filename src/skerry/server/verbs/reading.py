"""Get and list: objects as of now or as of a revision, in pages, selected.

A list reads the log in pages of one snapshot, so a long list never holds one long transaction, and all pages of a
list that a client continues show the same revision. How old an answer may be is the client's word (resourceVersion);
whether a copy at hand is young enough for it is the log's.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from skerry.api.errors import BadRequest, Expired, Invalid
from skerry.api.fields import FieldError, forbidden, invalid
from skerry.api.kinds import Kind
from skerry.server.verbs import answers
from skerry.server.verbs.continuation import Continuation, continuation
from skerry.server.verbs.requests import Listed, ListOptions, Selection, Target
from skerry.server.verbs.stored import Stored
from skerry.store import errors as store
from skerry.store.log import RevisionLog
from skerry.store.records import Entry, Page

#: Entries read from the log at once.
PAGE_ENTRIES = 500

_EXPIRED = (
    "The provided continue parameter is too old to display a consistent list result. "
    "You must start a new list without the continue parameter."
)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Which state of a collection is listed.

    Attributes:
        revision: that very one; None for a new one.
        not_older_than: of a new one; see `RevisionLog.get`.
    """

    revision: int | None = None
    not_older_than: int | None = None


class Reader:
    """Reads objects of every kind."""

    def __init__(self, log: RevisionLog) -> None:
        self._log = log

    async def get(self, target: Target, resource_version: str = "") -> Stored:
        """Return an object; see `Verbs.get`."""
        asked = not_older_than(resource_version)
        try:
            entry = await self._log.get(target.key, not_older_than=asked)
        except store.FutureRevision as error:
            raise answers.too_new(asked or 0, error.current) from error
        if entry is None:
            raise answers.not_found(target)
        return Stored(entry.value, entry.revision)

    async def get_at(self, target: Target, revision: int) -> Stored:
        """Return an object as it was at a revision; see `Verbs.get_at`."""
        try:
            entry = await self._log.get_at(target.key, revision)
        except store.Compacted as error:
            raise answers.too_old(revision, error.oldest) from error
        except store.FutureRevision as error:
            raise answers.too_new(revision, error.current) from error
        if entry is None:
            raise answers.not_found(target)
        return Stored(entry.value, entry.revision)

    async def list(self, target: Target, options: ListOptions) -> Listed:
        """Return a page of a collection; see `Verbs.list`."""
        _check_versions(options)
        check_selectable(target.kind, options.selection)
        if options.continue_token:
            place = continuation(options.continue_token)
            try:
                return await self._collect(target, options, Snapshot(revision=place.revision), place)
            except (store.Compacted, store.FutureRevision) as error:
                raise Expired(_EXPIRED) from error
        asked = parse_revision(options.resource_version)
        try:
            return await self._collect(target, options, _snapshot(options), None)
        except store.Compacted as error:
            raise answers.too_old(asked, error.oldest) from error
        except store.FutureRevision as error:
            raise answers.too_new(asked, error.current) from error

    async def _collect(
        self, target: Target, options: ListOptions, snapshot: Snapshot, begin: Continuation | None
    ) -> Listed:
        named = options.selection.fields.value_of("metadata.name")
        if named is not None and snapshot.revision is None and (target.namespace or not target.kind.namespaced):
            return await self._list_one(Target(target.kind, target.namespace, named), options.selection, snapshot)
        selection, items, revision = options.selection, list[Stored](), 0
        selecting = bool(selection)
        whole, after = (begin.remaining, begin.after) if begin else (None, None)
        async for page in self._pages(target, snapshot, after, PAGE_ENTRIES if selection else options.limit):
            revision = page.revision
            if page.remaining is not None:
                whole = len(page.entries) + page.remaining
            for place, entry in enumerate(page.entries, 1):
                item = Stored(entry.value, entry.revision)
                if not selecting or _selected(target.kind, entry, item, selection):
                    items.append(item)
                    if len(items) == options.limit and (page.more or place < len(page.entries)):
                        remaining = None if selecting or whole is None else whole - len(items)
                        following = Continuation(revision, (entry.key.namespace, entry.key.name), remaining)
                        return Listed(tuple(items), revision, following.token(), remaining)
        return Listed(tuple(items), revision)

    async def _pages(
        self, target: Target, snapshot: Snapshot, after: tuple[str, str] | None, limit: int
    ) -> AsyncIterator[Page]:
        """Read one snapshot page by page."""
        list_entries = partial(
            self._log.list,
            target.kind.resource,
            namespace=target.namespace or None,
            limit=min(limit or PAGE_ENTRIES, PAGE_ENTRIES),
        )
        page = await list_entries(revision=snapshot.revision, not_older_than=snapshot.not_older_than, after=after)
        yield page
        while page.more:
            key = page.entries[-1].key
            page = await list_entries(revision=page.revision, after=(key.namespace, key.name))
            yield page

    async def _list_one(self, one: Target, selection: Selection, snapshot: Snapshot) -> Listed:
        """Answer a list that can hold one object only: what `kubectl wait` and `delete` ask for."""
        entry, revision = await self._log.find(one.key, not_older_than=snapshot.not_older_than)
        if entry is None:
            return Listed((), revision)
        item = Stored(entry.value, entry.revision)
        return Listed((item,) if selection.matches(one.kind, item) else (), revision)


def _snapshot(options: ListOptions) -> Snapshot:
    """Return which snapshot the first page of a list shows."""
    asked = parse_revision(options.resource_version)
    if asked and (options.version_match == "Exact" or (options.limit and not options.version_match)):
        return Snapshot(revision=asked)
    return Snapshot(not_older_than=not_older_than(options.resource_version))


def _selected(kind: Kind[Any], entry: Entry, item: Stored, selection: Selection) -> bool:
    name = selection.fields.value_of("metadata.name")
    if name is not None and name != entry.key.name:
        return False  # told by the key alone, without parsing the object
    return selection.matches(kind, item)


def not_older_than(resource_version: str) -> int | None:
    """Return how old an answer may be: any age for "0", None where it must hold every acknowledged change."""
    return parse_revision(resource_version) if resource_version else None


def parse_revision(text: str) -> int:
    """Read a resourceVersion; 0 for "" and "0"; raises Invalid for what is no number."""
    if not text:
        return 0
    if not text.isascii() or not text.isdigit() or len(text) > 19:
        wrong = invalid("resourceVersion", text, "must be a resourceVersion that the server gave out")
        raise Invalid.of("ListOptions", "meta.k8s.io", "", [wrong])
    return int(text)


def _check_versions(options: ListOptions) -> None:
    """Check resourceVersion and resourceVersionMatch as k8s.io/apimachinery's ValidateListOptions does."""
    wrong: list[FieldError] = []
    field, match = "resourceVersionMatch", options.version_match
    if match and not options.resource_version:
        wrong.append(forbidden(field, "resourceVersionMatch is forbidden unless resourceVersion is provided"))
    if match and options.continue_token:
        wrong.append(forbidden(field, "resourceVersionMatch is forbidden when continue is provided"))
    if match == "Exact" and options.resource_version == "0":
        wrong.append(forbidden(field, 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"'))
    if wrong:
        raise Invalid.of("ListOptions", "meta.k8s.io", "", wrong)
    if options.continue_token and options.resource_version not in {"", "0"}:
        raise BadRequest("specifying resource version is not allowed when using continue")


def check_selectable(kind: Kind[Any], selection: Selection) -> None:
    """Refuse a field selector on a field that the kind does not offer."""
    for requirement in selection.fields.requirements:
        path = requirement.path
        if path not in {"metadata.name", "metadata.namespace"} and path not in kind.selectable:
            raise BadRequest(f"field label not supported: {path}")
