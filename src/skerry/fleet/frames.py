"""The frames of Baetyl's asynchronous links: an envelope around what the HTTP link sends, both ways. Pure.

    {"kind": "report", "meta": {"source": "baetyl-core"}, "content": {...}}

`meta` has what the HTTP link puts into headers. A question whose sender waits for its answer has `sync` and an id in
it, and is answered with both; of other kinds the receiver tells by `kind` what they are. Remote commands are frames of
the kinds `cmd` and `data`, told apart by the `token` of their meta. Source: plugin/wslink, chain and engine of Baetyl.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from skerry.fleet.reports import ReportRefused, escaped, read_object

#: Members of one meta, and characters of each of its names and values.
META_MEMBERS_MAX = 32
META_CHARACTERS_MAX = 4096

REPORT: Final = "report"
DESIRE: Final = "desire"
KEEP_ALIVE: Final = "keepalive"
ERROR: Final = "error"
COMMAND: Final = "cmd"
DATA: Final = "data"

#: Members of a meta.
SOURCE, REQUEST_ID, WAITS = "source", "x-baetyl-request-id", "sync"
#: Ours: how often a node is to report, in seconds; in the HTTP link a header.
REPORT_SECONDS: Final = "x-skerry-report-seconds"
#: Ours: within how many seconds a node is to try its link again, should it be lost.
RELINK_SECONDS: Final = "x-skerry-relink-seconds"
#: Of commands: which, whose frames these are, whether it went well, and what to say of it.
CMD, TOKEN, SUCCESS, MESSAGE = "cmd", "token", "success", "msg"
#: Of commands: what sort of thing they are about; ours is a function that the node's Gateways serve.
RESOURCE_TYPE, EDGE_FUNCTION = "resourceType", "edgefunction"
#: The command, ours, that asks what those functions count.
METRICS: Final = "metrics"
#: The `msg` with which a command's frames end well.
DISCONNECT: Final = "disconnect"


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame.

    Attributes:
        kind: what it is.
        meta: what is said of it.
        content: any JSON.
    """

    kind: str
    meta: Mapping[str, str] = field(default_factory=dict)
    content: Any = None

    def answer(self, content: Any, *, kind: str = "", **more: str) -> "Frame":
        """Return the answer to this frame.

        Args:
            content: what is answered.
            kind: of the answer; "" for this frame's own.
            more: members of its meta.
        """
        kept = {name: self.meta[name] for name in (REQUEST_ID, WAITS) if name in self.meta}
        return Frame(kind or self.kind, {**kept, **more}, content)


def read_frame(message: bytes) -> Frame:
    """Read a frame; raises ReportRefused, which says what is wrong with it."""
    document = read_object(message)
    kind, meta = document.get("kind"), document.get("meta") or {}
    if not isinstance(kind, str) or not kind:
        raise ReportRefused("kind must be a text, such as report")
    if not isinstance(meta, dict) or len(meta) > META_MEMBERS_MAX:
        raise ReportRefused(f"meta must be an object of at most {META_MEMBERS_MAX} members")
    for name, value in meta.items():
        if not isinstance(value, str) or len(name) + len(value) > META_CHARACTERS_MAX:
            raise ReportRefused(f"meta.{name[:64]} must be a text of at most {META_CHARACTERS_MAX} characters")
    return Frame(kind, meta, document.get("content"))


def written(frame: Frame) -> bytes:
    """Write a frame, with nothing in it that agents would take for a template of theirs."""
    document = {"kind": frame.kind, "meta": dict(frame.meta), "content": frame.content}
    return escaped(orjson.dumps(document))


def read_data(content: Any) -> bytes:
    """Read the bytes of a `data` frame; raises ReportRefused."""
    if content is None:
        return b""
    try:
        return base64.b64decode(content, validate=True)
    except (TypeError, ValueError, binascii.Error) as error:
        raise ReportRefused("the content of a data frame must be base64") from error


def data_frame(token: str, content: bytes) -> Frame:
    """Return a part of what a command prints."""
    return Frame(DATA, {SUCCESS: "true", MESSAGE: "ok", TOKEN: token}, base64.b64encode(content).decode())


def ending_frame(token: str, reason: str = DISCONNECT) -> Frame:
    """Return the frame with which a command ends: well, or for a reason."""
    return Frame(COMMAND, {SUCCESS: "false", MESSAGE: reason, TOKEN: token})
