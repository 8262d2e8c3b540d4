"""JSON patch, RFC 6902, with bounds: on the number of operations and on what `copy` may multiply.

A few copies of a copy double a document each; so what they copy together is bounded, as in Kubernetes.
"""

from dataclasses import dataclass
from typing import Any, cast

import jsonpatch
import jsonpointer
import orjson

from skerry.api.errors import BadRequest, Invalid, RequestEntityTooLarge
from skerry.api.kinds import Kind
from skerry.api.model import Document

OPERATIONS_MAX = 10_000
COPIED_BYTES_MAX = 3 * 1024 * 1024
_OPERATORS = frozenset({"add", "remove", "replace", "move", "copy", "test"})
#: Of a pointer, in a message.
_POINTER_CHARACTERS_MAX = 200
_REJECTED = "the server rejected our request due to an error in our request"


@dataclass(frozen=True, slots=True)
class JsonPatch:
    """A list of operations, applied in order or not at all."""

    operations: tuple[dict[str, Any], ...]

    def apply(self, live: Document, kind: Kind[Any]) -> Document:
        """Return the patched object; see `Patch`."""
        del kind  # operations know nothing of kinds
        document: Any = live
        copied_bytes = applied = 0
        try:
            for operation in self.operations:
                if operation["op"] == "copy":
                    source = jsonpointer.resolve_pointer(document, operation["from"])
                    copied_bytes += len(orjson.dumps(source))
                    if copied_bytes > COPIED_BYTES_MAX:
                        raise RequestEntityTooLarge(f"the patch copies more than {COPIED_BYTES_MAX} bytes in total")
                document = jsonpatch.JsonPatch([operation]).apply(document, in_place=True)
                applied += 1
        except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException, TypeError, ValueError) as error:
            raise _failed(applied, operation, error) from error
        if not isinstance(document, dict):
            raise Invalid(f"{_REJECTED}: the patch does not leave an object")
        return cast("Document", document)


def _failed(index: int, operation: dict[str, Any], error: Exception) -> Invalid:
    """An operation does not fit the object, or a test does not hold.

    The libraries' own words are not passed on: they quote the object, and what is in it may be a secret.
    """
    match error:
        case jsonpatch.JsonPatchTestFailed():
            why = "the object has another value there"
        case jsonpatch.JsonPatchConflict() | jsonpointer.JsonPointerException():
            why = "the object has no such path"
            if operation["op"] == "add":
                why = "the object has nothing there that it could be added to"
        case _:
            why = "the operation does not fit what is there"
    pointers = [operation[field][:_POINTER_CHARACTERS_MAX] for field in ("from", "path") if _is_used(operation, field)]
    where, told = f"patch[{index}]", f"{operation['op']} {' to '.join(map(_quoted, pointers))}: {why}"
    cause = {"reason": "UnexpectedServerResponse", "field": where, "message": told}
    return Invalid(f"{_REJECTED}: {where}: {told}", details={"causes": [cause]})


def _is_used(operation: dict[str, Any], field: str) -> bool:
    return field == "path" or operation["op"] in {"move", "copy"}


def _quoted(pointer: str) -> str:
    return f'"{pointer}"'


def json_patch(body: Any) -> JsonPatch:
    """Read a JSON patch.

    Raises:
        BadRequest: it is not a list of well-formed operations.
        RequestEntityTooLarge: it has more than `OPERATIONS_MAX`.
    """
    if not isinstance(body, list):
        raise BadRequest("a JSON patch must be a list of operations")
    if len(body) > OPERATIONS_MAX:
        raise RequestEntityTooLarge(
            f"The allowed maximum operations in a JSON patch is {OPERATIONS_MAX}, got {len(body)}"
        )
    for index, operation in enumerate(body):
        _check(operation, f"operation [{index}] of the JSON patch")
    return JsonPatch(tuple(body))


def _check(operation: Any, where: str) -> None:
    if not isinstance(operation, dict) or operation.get("op") not in _OPERATORS:
        raise BadRequest(f'{where}: "op" must be one of {", ".join(sorted(_OPERATORS))}')
    pointers = ["path", "from"] if operation["op"] in {"move", "copy"} else ["path"]
    for field in pointers:
        pointer = operation.get(field)
        if not isinstance(pointer, str) or not (pointer == "" or pointer.startswith("/")):
            raise BadRequest(f'{where}: "{field}" must be a JSON pointer such as "/metadata/labels"')
    if operation["op"] in {"add", "replace", "test"} and "value" not in operation:
        raise BadRequest(f'{where}: "value" must be given')
