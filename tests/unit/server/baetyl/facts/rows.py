"""What a row of the table of the fleet's routes is: one request, what was before it, and what it is answered."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

INVALID, NOT_FOUND, IN_USE = "ErrRequestParamInvalid", "ErrResourceNotFound", "ErrResourceHasBeenUsed"
DENIED, NO_ROUTE, TOO_LARGE = "ErrRequestAccessDenied", "ErrRequestMethodNotFound", "ErrDataTooLarge"
RESERVED, NO_TOKEN, NOT_READY = "nonBaetyl", "ErrInvalidToken", "ErrNodeNotReady"
LONG = "x" * 64

#: Who asks: the administrator, somebody without a role, one without a credential, a node with its certificate.
By = Literal["root", "nobody", "device", "node"]


@dataclass(frozen=True)
class Step:
    """A request that goes before that of a row.

    Attributes:
        method: of HTTP; CREATE stores an object as kubectl would, of the kind that `path` names.
        keep: what of the answer is called how from then on; `<name>` in a path or a body stands for it.
    """

    method: str
    path: str
    body: Any = None
    keep: Mapping[str, str] = field(default_factory=dict)
    by: By = "root"


@dataclass(frozen=True)
class Row:
    """One request, in a namespace of its own, `<ns>`.

    Attributes:
        fact: what the facts, or the document, say of it.
        code: of the refusal; "" for a success.
        message: a part of the refusal's.
        shows: members that the answer has; "..." for any value.
    """

    fact: str
    method: str
    path: str
    body: Any = None
    status: int = 200
    code: str = ""
    message: str = ""
    given: Sequence[Step] = ()
    shows: Mapping[str, Any] = field(default_factory=dict)
    by: By = "root"


def done(method: str, path: str, body: Any = None, *given: Step, by: By = "root", **shows: Any) -> Row:
    """Return the row of a success."""
    return Row("it is done", method, path, body, given=given, shows=shows, by=by)


def refused(  # noqa: PLR0913 - the columns of a table
    fact: str,
    method: str,
    path: str,
    body: Any = None,
    *given: Step,
    status: int = 400,
    code: str = INVALID,
    message: str = "",
    by: By = "root",
) -> Row:
    """Return the row of a refusal."""
    return Row(fact, method, path, body, status, code, message, given, by=by)


def absent(method: str, path: str, sort: str, name: str, body: Any = None, *given: Step) -> Row:
    """Return the row of something that is not there."""
    told = f"The ({sort}) resource ({name}) is not found"
    return refused(f"no {sort}", method, path, body, *given, status=404, code=NOT_FOUND, message=told)


def post(path: str, body: Any = None, *, keep: Mapping[str, str] | None = None, by: By = "root") -> Step:
    """Return a step that posts."""
    return Step("POST", path, body, keep or {}, by)
