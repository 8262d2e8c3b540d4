"""Errors as Dispatch's clients read them: `{"code": int, "message": str}`.

What is wrong with a request itself has a code of its own above 600 and goes out as 422, as the framework that Dispatch
is built on does it; of several such errors the first is told.
"""

import orjson
from pydantic import ValidationError

from skerry.api.core_v1 import SECRET
from skerry.api.decoding import JSON_TYPES
from skerry.api.dispatch_drivers import EVENT_DRIVER, EVENT_DRIVER_TYPE
from skerry.api.dispatch_endpoints import ENDPOINT
from skerry.api.dispatch_events import SUBSCRIPTION
from skerry.api.dispatch_images import BASE_IMAGE, IMAGE
from skerry.api.dispatch_services import SERVICE_CLASS, SERVICE_INSTANCE
from skerry.api.dispatch_v1 import FUNCTION, RUN
from skerry.api.errors import ApiError, Invalid, NotFound
from skerry.server.http import Response, retry_after

WRONG_TYPE, REQUIRED, TOO_LONG, PATTERN = 601, 602, 603, 605

_WORDS = {
    FUNCTION.resource: "function",
    RUN.resource: "function run",
    SECRET.resource: "secret",
    SUBSCRIPTION.resource: "subscription",
    EVENT_DRIVER.resource: "driver",
    EVENT_DRIVER_TYPE.resource: "driver type",
    ENDPOINT.resource: "API",
    IMAGE.resource: "image",
    BASE_IMAGE.resource: "base image",
    SERVICE_CLASS.resource: "service class",
    SERVICE_INSTANCE.resource: "service instance",
}


class RequestRefused(ApiError):
    """A request that is not of the form that it must have."""

    code = 422
    reason = "Invalid"

    def __init__(self, number: int, message: str) -> None:
        super().__init__(message)
        self.number = number


def refusal(error: ApiError) -> Response:
    """Write an error."""
    if isinstance(error, NotFound):
        error = _named(error)
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


def _named(error: NotFound) -> NotFound:
    """Tell what was not found in Dispatch's words."""
    details = error.details
    group = f".{details['group']}" if details.get("group") else ""
    word = _WORDS.get(f"{details.get('kind', '')}{group}")
    return NotFound(f"{word} {details['name']} not found", details=details) if word and "name" in details else error
