"""How a worker asks another process of its machine for keys and values: the form of questions and answers.

Both are two lengths (head, data; 4 bytes each, the highest first), a head of JSON, and the bytes of a value. A
question's head is an `Asked`; an answer's is `{"error": ...}`, or what the operation returns. Both ends are of one
version.
"""

import struct
from dataclasses import asdict, dataclass
from typing import Any, Literal

import orjson

from skerry.engine.key_values import LIST_KEYS_MAX, METADATA_BYTES_MAX, VALUE_BYTES_MAX

LENGTHS = struct.Struct(">II")
#: A list with every key and all metadata as long as they may be, escaped.
HEAD_BYTES_MAX = LIST_KEYS_MAX * (METADATA_BYTES_MAX * 6 + 4096)
DATA_BYTES_MAX = VALUE_BYTES_MAX

Operation = Literal["get", "put", "delete", "list"]


@dataclass(frozen=True, slots=True)
class Asked:
    """One operation; what it does not need is left as it is.

    Attributes:
        key: of get, put and delete; of list, the last key of the page before.
        prefix: of list.
        limit: of list.
        metadata: of put, JSON text.
        expires: of put, in seconds since the epoch.
    """

    operation: Operation
    namespace: str
    key: str = ""
    prefix: str = ""
    limit: int = 0
    metadata: str | None = None
    expires: float | None = None

    def encoded(self) -> bytes:
        """Write the head of the question."""
        return orjson.dumps(asdict(self))


def framed(head: bytes, data: bytes) -> bytes:
    """Return a question or an answer as it is sent."""
    return LENGTHS.pack(len(head), len(data)) + head + data


def lengths(prefix: bytes) -> tuple[int, int]:
    """Return the lengths of head and data; raises ValueError where they are over the limits."""
    head, data = LENGTHS.unpack(prefix)
    if head > HEAD_BYTES_MAX or data > DATA_BYTES_MAX:
        raise ValueError(f"a message of {head} and {data} bytes is over the limit")
    return head, data


def decoded(head: bytes) -> Any:
    """Read a head."""
    return orjson.loads(head)
