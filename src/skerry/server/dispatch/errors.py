"""Errors as Dispatch's clients read them: `{"code": int, "message": str}`.

What is wrong with a request itself has a code of its own above 600 and goes out as 422, as the framework that Dispatch
is built on does it; of several such errors the first is told.
"""

import orjson
from pydantic import ValidationError

from skerry.api.decoding import JSON_TYPES
from skerry.api.errors import ApiError, Invalid
from skerry.server.http import Response, retry_after

WRONG_TYPE, REQUIRED, TOO_LONG, PATTERN = 601, 602, 603, 605


class RequestRefused(ApiError):
    """A request that is not of the form that it must have."""

    code = 422
    reason = "Invalid"

    def __init__(self, number: int, message: str) -> None:
        super().__init__(message)
        self.number = number


def refusal(error: ApiError) -> Response:
    """Write an error."""
    code = error.number if isinstance(error, RequestRefused) else error.code
    status = 400 if isinstance(error, Invalid) else error.code
    body = {"code": 400 if isinstance(error, Invalid) else code, "message": error.public}
    return Response(orjson.dumps(body), status, headers=retry_after(error))


def of_model(error: ValidationError) -> RequestRefused:
    """Tell the first thing that is wrong with a body."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    place = ".".join(str(step) for step in first["loc"]) or "body"
    if first["type"] == "missing":
        return RequestRefused(REQUIRED, f"{place} in body is required")
    if first["type"] == "extra_forbidden":
        return RequestRefused(WRONG_TYPE, f"{place} in body is no field that there is")
    if wanted := JSON_TYPES.get(first["type"]):
        return RequestRefused(WRONG_TYPE, f"{place} in body must be of type {wanted}")
    return RequestRefused(WRONG_TYPE, f"{place} in body: {first['msg'].removeprefix('Value error, ')}")
