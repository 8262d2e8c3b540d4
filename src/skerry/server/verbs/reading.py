"""Get and list: objects as of now or as of a revision, in pages, selected.

A list reads the log in pages of one snapshot, so a long list never holds one long transaction, and all pages of a
list that a client continues show the same revision.
"""

from collections.abc import AsyncIterator
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


class Reader:
    """Reads objects of every kind."""

    def __init__(self, log: RevisionLog) -> None:
        self._log = log

    async def get(self, target: Target, resource_version: str = "") -> Stored:
        """Return an object; see `Verbs.get`."""
        entry = await self._log.get(target.key)
        asked = parse_revision(resource_version)
        if asked and (entry is None or entry.revision < asked):
            await self._check_not_future(asked)
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
                return await self._collect(target, options, place.revision, place.after)
            except (store.Compacted, store.FutureRevision) as error:
                raise Expired(_EXPIRED) from error
        revision = await self._snapshot(options)
        try:
            return await self._collect(target, options, revision, None)
        except store.Compacted as error:
            raise answers.too_old(revision or 0, error.oldest) from error

    async def _snapshot(self, options: ListOptions) -> int | None:
        """Return the revision to list; None for the newest."""
        asked = parse_revision(options.resource_version)
        if not asked:
            return None
        await self._check_not_future(asked)
        exact = options.version_match == "Exact" or (options.limit and not options.version_match)
        return asked if exact else None

    async def _check_not_future(self, asked: int) -> None:
        current = await self._log.revision()
        if asked > current:
            raise answers.too_new(asked, current)

    async def _collect(
        self, target: Target, options: ListOptions, revision: int | None, after: tuple[str, str] | None
    ) -> Listed:
        named = options.selection.fields.value_of("metadata.name")
        if named is not None and revision is None and (target.namespace or not target.kind.namespaced):
            return await self._list_one(target, named, options.selection)
        selection, items = options.selection, list[Stored]()
        async for page in self._pages(target, revision, after, PAGE_ENTRIES if selection else options.limit):
            revision, left = page.revision, len(page.entries) + page.remaining
            for entry in page.entries:
                left -= 1
                item = Stored(entry.value, entry.revision)
                if _selected(target.kind, entry, item, selection):
                    items.append(item)
                    if left and len(items) == options.limit:
                        token = Continuation(revision, (entry.key.namespace, entry.key.name)).token()
                        return Listed(tuple(items), revision, token, None if selection else left)
        return Listed(tuple(items), revision or 0)

    async def _pages(
        self, target: Target, revision: int | None, after: tuple[str, str] | None, limit: int
    ) -> AsyncIterator[Page]:
        """Read one snapshot page by page."""
        resource, namespace = target.kind.resource, target.namespace or None
        size = min(limit or PAGE_ENTRIES, PAGE_ENTRIES)
        while True:
            page = await self._log.list(resource, namespace=namespace, revision=revision, after=after, limit=size)
            yield page
            if not page.more:
                return
            key = page.entries[-1].key
            revision, after = page.revision, (key.namespace, key.name)

    async def _list_one(self, target: Target, name: str, selection: Selection) -> Listed:
        """Answer a list that can hold one object only: what `kubectl wait` and `delete` ask for.

        The revision is read first: a change in between is then seen twice, by this list and by a watch from its
        revision, rather than not at all.
        """
        revision = await self._log.revision()
        one = Target(target.kind, target.namespace, name)
        entry = await self._log.get(one.key)
        if entry is None:
            return Listed((), revision)
        item = Stored(entry.value, entry.revision)
        items = (item,) if selection.matches(target.kind, item.document) else ()
        return Listed(items, max(revision, entry.revision))


def _selected(kind: Kind[Any], entry: Entry, item: Stored, selection: Selection) -> bool:
    if not selection:
        return True
    name = selection.fields.value_of("metadata.name")
    if name is not None and name != entry.key.name:
        return False  # told by the key alone, without parsing the object
    return selection.matches(kind, item.document)


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
