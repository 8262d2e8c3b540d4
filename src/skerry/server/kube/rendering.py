"""How objects, lists and watch events look on the wire, in the form that the caller accepts.

Objects go out as they are stored: the bytes of the log with the revision spliced in, never parsed. Tables and bare
metadata are made of the parsed object; a watch event's bytes are kept on its moment, so that all watchers of one
form share one encoding.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from skerry.api.errors import ApiError
from skerry.api.kinds import Kind
from skerry.api.model import Document
from skerry.kit.clock import Clock
from skerry.server.kube.negotiation import Form, Include
from skerry.server.kube.tables import partial_metadata, table
from skerry.server.metrics import ENCODINGS
from skerry.server.verbs.requests import Listed
from skerry.server.verbs.stored import Stored
from skerry.server.verbs.watching import Bookmark, Observed, Seen
from skerry.server.verbs.withheld import told

#: Bytes of watch events that are handed to a connection at once, and wait there for a client that does not read.
PART_BYTES = 64 * 1024
_END_OF_INITIAL = {"k8s.io/initial-events-end": "true"}


@dataclass(frozen=True, slots=True)
class Renderer:
    """Renders objects of one kind in one form."""

    kind: Kind[Any]
    form: Form
    include: Include
    clock: Clock

    def object(self, stored: Stored) -> bytes:
        """Return one object."""
        stored = told(self.kind, stored)
        match self.form.shape:
            case "object":
                return stored.json
            case "metadata":
                return orjson.dumps(partial_metadata(stored.document, self.form))
            case "table":
                return self._table([stored], {"resourceVersion": str(stored.revision)})

    def list(self, listed: Listed) -> bytes:
        """Return a page of a list."""
        metadata: Document = {"resourceVersion": str(listed.revision)}
        if listed.continue_token:
            metadata["continue"] = listed.continue_token
            if listed.remaining is not None:
                metadata["remainingItemCount"] = listed.remaining
        states = [told(self.kind, item) for item in listed.items]
        match self.form.shape:
            case "object":
                items = b",".join([item.json for item in states])
                return self._list_head(self.kind.api_version, self.kind.list_kind, metadata) + items + b"]}"
            case "metadata":
                items = b",".join([orjson.dumps(partial_metadata(i.document, self.form)) for i in states])
                version = f"meta.k8s.io/{self.form.version}"
                return self._list_head(version, "PartialObjectMetadataList", metadata) + items + b"]}"
            case "table":
                return self._table(states, metadata)

    def _list_head(self, api_version: str, kind: str, metadata: Document) -> bytes:
        head = orjson.dumps({"kind": kind, "apiVersion": api_version, "metadata": metadata})
        return head[:-1] + b',"items":['

    def _table(self, items: Sequence[Stored], metadata: Document) -> bytes:
        documents = [item.document for item in items]
        return orjson.dumps(table(self.kind, documents, metadata, self.form, self.include, self.clock.now()))

    def events(self, seen: Sequence[Seen]) -> Iterator[bytes]:
        """Yield watch events, a line each, in parts of about `PART_BYTES`: what a client that stands still holds."""
        lines, size = list[bytes](), 0
        for one in seen:
            line = self._event(one) if isinstance(one, Observed) else self._bookmark(one)
            lines.append(line)
            size += len(line)
            if size >= PART_BYTES:
                yield b"".join(lines)
                lines, size = [], 0
        if lines:
            yield b"".join(lines)

    def _event(self, observed: Observed) -> bytes:
        key = (observed.type, self.form, self.include, self.kind.version)
        line = observed.moment.encoded.get(key)
        if line is None:
            ENCODINGS.inc()
            line = _line(observed.type, self.object(observed.object))
            observed.moment.keep(key, line)
        return line

    def _bookmark(self, bookmark: Bookmark) -> bytes:
        metadata: Document = {"resourceVersion": str(bookmark.revision), "creationTimestamp": None}
        if bookmark.ends_initial_events:
            metadata["annotations"] = _END_OF_INITIAL
        match self.form.shape:
            case "object":
                document = {"kind": self.kind.kind, "apiVersion": self.kind.api_version, "metadata": metadata}
            case "metadata":
                document = partial_metadata({"metadata": metadata}, self.form)
            case "table":
                document = table(self.kind, [], metadata, self.form, self.include, self.clock.now())
        return _line("BOOKMARK", orjson.dumps(document))


def error_event(error: ApiError) -> bytes:
    """Return the last line of a watch that can't go on."""
    return _line("ERROR", orjson.dumps(error.status()))


def _line(event_type: str, document: bytes) -> bytes:
    return b'{"type":"%s","object":%s}\n' % (event_type.encode(), document)
