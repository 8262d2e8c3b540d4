"""Errors as Baetyl's clients read them: `{"code": word, "message": text, "request-id": id}`.

Owns the words and the statuses, which differ from Kubernetes': what is wrong with a request is 400 whatever it is, also
a name that is taken. Source: the table in `common/message.go` of Baetyl Cloud, and its API document.
"""

from collections.abc import Mapping

import orjson
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from skerry.api.decoding import JSON_TYPES
from skerry.api.errors import (
    AlreadyExists,
    ApiError,
    BadRequest,
    Conflict,
    Forbidden,
    Invalid,
    MethodNotAllowed,
    NotFound,
    RequestEntityTooLarge,
    Unauthorized,
    UnsupportedMediaType,
)
from skerry.server.access import Denied
from skerry.server.http import Response, retry_after

REQUEST_ID_HEADER = b"x-bce-request-id"

INVALID_PARAMETER = "ErrRequestParamInvalid"
NOT_FOUND = "ErrResourceNotFound"
ACCESS_DENIED = "ErrRequestAccessDenied"
IN_USE = "ErrResourceHasBeenUsed"
UNKNOWN = "UnknownError"


class BaetylError(ApiError):
    """An error with a word of its own.

    Args:
        word: the error's code, such as "ErrAppNameConflict".
        message: the public sentence.
        status: of the answer.
    """

    code = 400
    reason = "BadRequest"

    def __init__(self, word: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.word = word
        self.status_code = status


def not_found(sort: str, name: str, namespace: str = "") -> BaetylError:
    """There is no such object.

    Args:
        sort: what it would be, such as "node".
        name: its name.
        namespace: where it was looked for; "" to leave that untold.
    """
    place = f" in namespace({namespace})" if namespace else ""
    return BaetylError(NOT_FOUND, f"The ({sort}) resource ({name}) is not found{place}.", 404)


def invalid(message: str) -> BaetylError:
    """The request is not what it must be."""
    return BaetylError(INVALID_PARAMETER, f"The request parameter is invalid. ({message})")


def in_use(message: str) -> BaetylError:
    """Others need it, or have its name."""
    return BaetylError(IN_USE, message, 403)


#: What the objects of a resource are called.
_SORTS: Mapping[str, str] = {
    "nodes.cloud.baetyl.io": "node",
    "nodereports.cloud.baetyl.io": "report",
    "applications.cloud.baetyl.io": "app",
    "configurations.cloud.baetyl.io": "config",
    "products.cloud.baetyl.io": "batch",
    "records.cloud.baetyl.io": "record",
    "rollouts.cloud.baetyl.io": "rollout",
    "secrets": "secret",
}


#: By class, the first that fits: the word, and the status where it is not the error's own.
_WORDS: tuple[tuple[type[ApiError], str, int | None], ...] = (
    (Unauthorized, ACCESS_DENIED, None),
    (Denied, ACCESS_DENIED, None),
    (Forbidden, IN_USE, None),
    (NotFound, NOT_FOUND, None),
    (MethodNotAllowed, "ErrRequestMethodNotFound", 404),
    (AlreadyExists, INVALID_PARAMETER, 400),
    (Conflict, "ErrResourceConflict", 400),
    (Invalid, INVALID_PARAMETER, 400),
    (BadRequest, INVALID_PARAMETER, None),
    (UnsupportedMediaType, INVALID_PARAMETER, 400),
    (RequestEntityTooLarge, "ErrDataTooLarge", 400),
)


def refusal(error: ApiError, request_id: str) -> Response:
    """Write an error."""
    word, status = _word_of(error)
    body = {"code": word, "message": _message_of(error), "request-id": request_id}
    return Response(orjson.dumps(body), status, headers=retry_after(error))


def _word_of(error: ApiError) -> tuple[str, int]:
    if isinstance(error, BaetylError):
        return error.word, error.status_code
    for kind, word, status in _WORDS:
        if isinstance(error, kind):
            return word, status or error.code
    return UNKNOWN, error.code


def _message_of(error: ApiError) -> str:
    """Return the public sentence; of what was not found, in Baetyl's words."""
    if isinstance(error, NotFound) and "name" in error.details:
        group = f".{error.details['group']}" if error.details.get("group") else ""
        if sort := _SORTS.get(f"{error.details.get('kind', '')}{group}"):
            return not_found(sort, str(error.details["name"])).public
    return error.public


def of_model(error: ValidationError) -> BaetylError:
    """Tell what is wrong with a body, field by field."""
    found = error.errors(include_url=False, include_input=False, include_context=False)
    return invalid("; ".join(_told(each) for each in found[:10]))


def _told(problem: ErrorDetails) -> str:
    place = ".".join(str(step) for step in problem["loc"]) or "body"
    if wanted := JSON_TYPES.get(problem["type"]):
        return f"{place}: must be of type {wanted}"
    if problem["type"] == "missing":
        return f"{place}: is required"
    return f"{place}: {problem['msg'].removeprefix('Value error, ')}"
