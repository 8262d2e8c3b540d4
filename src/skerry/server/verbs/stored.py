"""How an object is kept in the log, and how it leaves it.

The stored value is the object's JSON without `metadata.resourceVersion`, for that is the revision of the entry.
Metadata comes first, so the revision is spliced into the bytes on the way out: a get or a list parses nothing.

Invariant: every value in the log starts with `{"metadata":{"`, because `encode` is the only writer.
"""

from collections.abc import Mapping
from typing import Any, cast

import orjson

from skerry.api.kinds import Kind
from skerry.api.model import Document, Resource

_START = b'{"metadata":{'


def encode(document: Document) -> bytes:
    """Return what is stored of an object; `metadata` must hold a name."""
    metadata = {key: value for key, value in document["metadata"].items() if key != "resourceVersion"}
    rest = {key: value for key, value in document.items() if key != "metadata"}
    # A copy that is as long as its content: what orjson gives keeps the room that it was written in, several KB, and
    # this stays in the copies of the log for as long as the object does.
    return b"%b" % orjson.dumps({"metadata": metadata, **rest})


def encode_model(obj: Resource) -> bytes:
    """Return what `encode` does of the document of a complete object, without making one."""
    # Nothing to leave out of a new object's takes half of the time.
    left_out = {"metadata": {"resource_version"}} if obj.metadata.resource_version else None
    whole = type(obj).__pydantic_serializer__.to_json(obj, by_alias=True, exclude_none=True, exclude=left_out)
    # What it is stands before its metadata (`Resource`), and goes to the end: to write both apart takes twice as long.
    what, metadata, rest = whole.partition(b'"metadata":')
    return b"{%b%b,%b}" % (metadata, rest[:-1], what[1:-1])


class Stored:
    """One state of one object.

    Attributes:
        value: what the log holds.
        revision: the revision that the caller sees: that of the state, or of the deletion that ended it; 0 for
            a state that was never written (dry run).
    """

    def __init__(self, value: bytes, revision: int) -> None:
        self.value = value
        self.revision = revision
        self._document: Document | None = None

    @property
    def json(self) -> bytes:
        """The object as it is sent, with its resourceVersion."""
        if not self.revision:
            return self.value
        return b'%s"resourceVersion":"%d",%s' % (_START, self.revision, self.value[len(_START) :])

    @property
    def document(self) -> Document:
        """The object with its resourceVersion. Shared by every reader of this state: do not change it."""
        if self._document is None:
            self._document = self.fresh_document()
        return self._document

    def fresh_document(self) -> Document:
        """Return a copy of the object, with its resourceVersion, to be changed at will."""
        document = cast("Document", orjson.loads(self.value))
        if self.revision:
            document["metadata"]["resourceVersion"] = str(self.revision)
        return document

    @property
    def metadata(self) -> dict[str, Any]:
        """The object's metadata; see `document`."""
        return cast("dict[str, Any]", self.document["metadata"])

    @property
    def labels(self) -> Mapping[str, str]:
        """The object's labels, as selectors read them."""
        return self.metadata.get("labels") or {}

    def field(self, kind: Kind[Any], path: str) -> str:
        """Return what field selectors of its kind read at a path: metadata.name, metadata.namespace, a selectable."""
        if path in {"metadata.name", "metadata.namespace"}:
            return str(self.metadata.get(path.partition(".")[2]) or "")
        return kind.selectable[path](self.document)
