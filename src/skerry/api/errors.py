"""The answers that are not success, as Kubernetes' Status objects say them.

    ApiError(SkerryError)
    ├── BadRequest 400 ├── Unauthorized 401 ├── Forbidden 403 ├── NotFound 404 ├── MethodNotAllowed 405
    ├── NotAcceptable 406 ├── RequestTimeout 408 ├── AlreadyExists 409 ├── Conflict 409 ├── Expired 410
    ├── RequestEntityTooLarge 413 ├── UnsupportedMediaType 415 ├── Invalid 422 ├── TooManyRequests 429
    └── InternalError 500 ├── ServiceUnavailable 503 ├── Timeout 504 └── InsufficientStorage 507

The verbs raise them, the front doors write them, the client raises them again: in process and over the
wire the same classes. `from_status` and `ApiError.status` are each other's inverse.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from skerry.api.fields import FieldError
from skerry.kit.errors import SkerryError

Status = dict[str, Any]

#: Errors of one object that are told; each is told twice, in the message and as a cause.
FIELD_ERRORS_MAX = 1_000


class ApiError(SkerryError):
    """An answer with `code` >= 400.

    Args:
        message: the public sentence, printed by kubectl as it stands.
        details: `details` of the Status: name, group, kind, uid, causes, retryAfterSeconds.
    """

    code: ClassVar[int] = 500
    reason: ClassVar[str] = "InternalError"

    def __init__(self, message: str, *, details: Mapping[str, Any] | None = None, detail: str = "") -> None:
        super().__init__(message, detail=detail)
        self.details = dict(details or {})

    def status(self) -> Status:
        """Return the Status object, a fresh dict."""
        status: Status = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.public,
            "reason": self.reason,
            "code": self.code,
        }
        if self.details:
            status["details"] = self.details
        return status


class BadRequest(ApiError):
    """The request itself can't be understood."""

    code = 400
    reason = "BadRequest"


class Unauthorized(ApiError):
    """No credential, or none that is known."""

    code = 401
    reason = "Unauthorized"


class Forbidden(ApiError):
    """The caller is known and may not."""

    code = 403
    reason = "Forbidden"


class NotFound(ApiError):
    """No such object or path."""

    code = 404
    reason = "NotFound"


class MethodNotAllowed(ApiError):
    """The path exists, the method does not."""

    code = 405
    reason = "MethodNotAllowed"


class NotAcceptable(ApiError):
    """None of the media types that the caller accepts can be given."""

    code = 406
    reason = "NotAcceptable"


class RequestTimeout(ApiError):
    """The request itself did not arrive in time."""

    code = 408
    reason = "RequestTimeout"


class AlreadyExists(ApiError):
    """A create met an object of that name."""

    code = 409
    reason = "AlreadyExists"


class Conflict(ApiError):
    """The object is not at the version that the caller names."""

    code = 409
    reason = "Conflict"


class Expired(ApiError):
    """The revision asked for has been compacted: list again."""

    code = 410
    reason = "Expired"


class RequestEntityTooLarge(ApiError):
    """A body is over its limit, which the message names."""

    code = 413
    reason = "RequestEntityTooLarge"


class UnsupportedMediaType(ApiError):
    """The body's content type is not read here."""

    code = 415
    reason = "UnsupportedMediaType"


class Invalid(ApiError):
    """The object is well-formed and breaks rules; each as a cause."""

    code = 422
    reason = "Invalid"

    @classmethod
    def of(cls, kind: str, group: str, name: str, errors: Sequence[FieldError]) -> "Invalid":
        """Build the error from every field error of one object, in their order; of very many, from the first ones."""
        if len(errors) > FIELD_ERRORS_MAX:
            errors = [*errors[:FIELD_ERRORS_MAX], FieldError("FieldValueTooMany", "", "further errors are not told")]
        joined = str(errors[0]) if len(errors) == 1 else "[" + ", ".join(map(str, errors)) + "]"
        qualified = f"{kind}.{group}" if group else kind
        causes = [{"reason": e.reason, "message": e.message, "field": e.path} for e in errors]
        details = {"name": name, "kind": kind, "causes": causes} | ({"group": group} if group else {})
        return cls(f'{qualified} "{name}" is invalid: {joined}', details=details)


class TooManyRequests(ApiError):
    """A rate or in-flight limit is reached."""

    code = 429
    reason = "TooManyRequests"

    def __init__(self, message: str, *, details: Mapping[str, Any] | None = None, detail: str = "") -> None:
        super().__init__(message, details={"retryAfterSeconds": 1, **(details or {})}, detail=detail)


class InternalError(ApiError):
    """A defect of ours; what happened stands in the log."""

    code = 500
    reason = "InternalError"


class ServiceUnavailable(ApiError):
    """A part that the answer needs is not there now."""

    code = 503
    reason = "ServiceUnavailable"


class Timeout(ApiError):
    """The answer was not there in time."""

    code = 504
    reason = "Timeout"


class InsufficientStorage(ApiError):
    """A store is at its size limit, which the message names."""

    code = 507
    reason = "InsufficientStorage"


CLASSES: tuple[type[ApiError], ...] = (
    BadRequest,
    Unauthorized,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    NotAcceptable,
    RequestTimeout,
    AlreadyExists,
    Conflict,
    Expired,
    RequestEntityTooLarge,
    UnsupportedMediaType,
    Invalid,
    TooManyRequests,
    InternalError,
    ServiceUnavailable,
    Timeout,
    InsufficientStorage,
)
_BY_REASON = {cls.reason: cls for cls in CLASSES}
_BY_CODE = {cls.code: cls for cls in reversed(CLASSES)}


def from_status(status: Mapping[str, Any]) -> ApiError:
    """Return the error that a Status object tells; an unknown reason falls back to its code, then to 500."""
    reason, code, message, details = (status.get(name) for name in ("reason", "code", "message", "details"))
    cls = _BY_REASON.get(str(reason)) or (_BY_CODE.get(code) if isinstance(code, int) else None) or InternalError
    return cls(str(message or cls.reason), details=details if isinstance(details, dict) else None)
