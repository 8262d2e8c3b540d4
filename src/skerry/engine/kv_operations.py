"""`env.KV` of one function: what its JavaScript asks for, as operations on a store.

Owns the form of the questions and answers (JSON, with the value's bytes beside it), and the limits in time. Does not
own the entries (`key_values`).
"""

from typing import NamedTuple

import orjson

from skerry.engine.key_values import BUSY_SECONDS_MAX, LIST_KEYS_MAX, KeyValueError, KeyValues, Value

#: Nothing is kept for so short a time or until so far a day by intent.
TTL_SECONDS_MIN = 1.0
TTL_SECONDS_MAX = 100 * 366 * 86_400.0

_WRITES = frozenset(("put", "delete"))
_OPERATIONS = _WRITES | {"get", "list"}


def shared_namespace(name: str) -> str:
    """Return the namespace that functions share by a name: none that is a function's own has this form."""
    return f"/{name}"


class KvQuestion:
    """One operation, as `web/kv.js` writes it.

    Args:
        head: JSON `{"operation": "get" | "put" | "delete" | "list", ...}`.
        data: the value of a put.

    Raises:
        KeyValueError: it can't be read. JSON is written by code that a function may have tampered with.
    """

    def __init__(self, head: bytes, data: bytes) -> None:
        try:
            asked = orjson.loads(head)
            self.operation = str(asked["operation"])
        except (orjson.JSONDecodeError, KeyError, TypeError) as error:
            raise KeyValueError("keys and metadata must be well-formed text, without lone surrogates") from error
        if self.operation not in _OPERATIONS:
            raise KeyValueError(f"no such operation: {self.operation[:20]}")
        self._asked = asked
        self.data = data

    @property
    def is_write(self) -> bool:
        """Whether it changes anything."""
        return self.operation in _WRITES

    def text(self, name: str) -> str:
        """Return an argument that is text."""
        value = self._asked.get(name)
        if not isinstance(value, str):
            raise KeyValueError(f"{name}: must be text")
        return value

    def number(self, name: str) -> float | None:
        """Return an argument that is a number, or None where it was not given."""
        value = self._asked.get(name)
        if value is not None and (not isinstance(value, int | float) or isinstance(value, bool)):
            raise KeyValueError(f"{name}: must be a number")
        return value

    def json(self, name: str) -> str | None:
        """Return an argument that may be anything, as JSON text."""
        value = self._asked.get(name)
        try:
            return None if value is None else orjson.dumps(value).decode()
        except orjson.JSONEncodeError as error:
            raise KeyValueError(f"{name}: is nested too deeply") from error


class KvAnswer(NamedTuple):
    """JSON text, and the bytes of a value."""

    text: bytes
    data: bytes = b""


class FunctionKeyValues:
    """The namespace of one function.

    Args:
        store: of the node, or of all nodes.
        namespace: the function's name, or `shared_namespace`.
    """

    def __init__(self, store: KeyValues, namespace: str) -> None:
        self._store = store
        self._namespace = namespace

    def is_slow(self, question: KvQuestion) -> bool:
        """Tell whether an answer takes as long as a write to the disk, or a question to another process."""
        return question.is_write or self._store.is_elsewhere

    def answer(self, question: KvQuestion, *, wait_seconds: float = BUSY_SECONDS_MAX) -> KvAnswer:
        """Carry out one operation, waiting for others' writes so long at most; raises KeyValueError."""
        match question.operation:
            case "get":
                return self._get(question.text("key"), wait_seconds)
            case "list":
                return self._list(question, wait_seconds)
            case "put":
                value = Value(question.data, question.json("metadata"))
                self._store.put(
                    self._namespace, question.text("key"), value, self._expires(question), wait_seconds=wait_seconds
                )
            case _:
                self._store.delete(self._namespace, question.text("key"), wait_seconds=wait_seconds)
        return KvAnswer(b"null")

    def _get(self, key: str, wait_seconds: float) -> KvAnswer:
        found = self._store.get(self._namespace, key, wait_seconds=wait_seconds)
        if found is None:
            return KvAnswer(b"null")
        return KvAnswer(orjson.dumps({"metadata": _metadata(found.metadata)}), found.value)

    def _list(self, question: KvQuestion, wait_seconds: float) -> KvAnswer:
        limit = question.number("limit")
        if not isinstance(limit, int):
            raise KeyValueError(f"limit: must be a whole number from 1 to {LIST_KEYS_MAX}")
        prefix, cursor = question.text("prefix"), question.text("cursor")
        listed = self._store.list(self._namespace, prefix=prefix, after=cursor, limit=limit, wait_seconds=wait_seconds)
        keys = []
        for entry in listed:
            optional = {"expiration": entry.expires and int(entry.expires), "metadata": _metadata(entry.metadata)}
            keys.append({"name": entry.key, **{name: value for name, value in optional.items() if value is not None}})
        more = len(listed) == limit
        answer = {"keys": keys, "list_complete": not more, **({"cursor": listed[-1].key} if more else {})}
        return KvAnswer(orjson.dumps(answer))

    def _expires(self, question: KvQuestion) -> float | None:
        until, ttl = question.number("expiration"), question.number("expirationTtl")
        now = self._store.now_seconds()
        if ttl is None:
            if until is None:
                return None
            ttl = until - now
        if not TTL_SECONDS_MIN <= ttl <= TTL_SECONDS_MAX:
            raise KeyValueError(f"an entry can expire after {TTL_SECONDS_MIN:.0f} to {TTL_SECONDS_MAX:.0f} seconds")
        return now + ttl


def _metadata(text: str | None) -> orjson.Fragment | None:
    return None if text is None else orjson.Fragment(text)
