"""The refusals that the verbs share, in Kubernetes' words, and the table from the store's errors to ours."""

from typing import Any

from skerry.api.errors import (
    AlreadyExists,
    ApiError,
    Conflict,
    Expired,
    Forbidden,
    InsufficientStorage,
    InternalError,
    NotFound,
    RequestEntityTooLarge,
    ServiceUnavailable,
    Timeout,
    TooManyRequests,
)
from skerry.server.verbs.requests import Target
from skerry.store import errors as store


def not_found(target: Target) -> NotFound:
    """There is no such object."""
    return NotFound(f'{target.kind.resource} "{target.name}" not found', details=target.details)


def already_exists(target: Target, *, deleting: bool) -> AlreadyExists:
    """The name is taken."""
    prefix = "object is being deleted: " if deleting else ""
    return AlreadyExists(f'{prefix}{target.kind.resource} "{target.name}" already exists', details=target.details)


def modified(target: Target) -> Conflict:
    """The caller's version of the object is not the newest."""
    return conflict(
        target, "the object has been modified; please apply your changes to the latest version and try again"
    )


def conflict(target: Target, why: str) -> Conflict:
    """The object is not what the caller takes it for."""
    return Conflict(
        f'Operation cannot be fulfilled on {target.kind.resource} "{target.name}": {why}', details=target.details
    )


def forbidden(target: Target, why: str, *causes: dict[str, Any]) -> Forbidden:
    """The act is not allowed, whoever asks."""
    details = target.details | ({"causes": list(causes)} if causes else {})
    return Forbidden(f'{target.kind.resource} "{target.name}" is forbidden: {why}', details=details)


def too_old(asked: int, oldest: int) -> Expired:
    """The history since that revision is not kept any more."""
    return Expired(f"too old resource version: {asked} ({oldest})")


def too_new(asked: int, current: int) -> Timeout:
    """No write has had that revision yet."""
    cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
    message = f"Too large resource version: {asked}, current: {current}"
    return Timeout(message, details={"causes": [cause], "retryAfterSeconds": 1})


def of_store(error: store.StoreError) -> ApiError:
    """Return the answer to a failure of the store that no verb expected."""
    match error:
        case store.Overloaded():
            return TooManyRequests(error.public, detail=error.detail)
        case store.ValueTooLarge():
            return RequestEntityTooLarge(error.public, detail=error.detail)
        case store.OutOfSpace():
            return InsufficientStorage(error.public, detail=error.detail)
        case store.Unavailable():
            return ServiceUnavailable(error.public, detail=error.detail)
        case store.Compacted():
            return Expired(error.public, detail=error.detail)
        case store.FutureRevision():
            return Timeout(error.public, details={"retryAfterSeconds": 1}, detail=error.detail)
        case store.Conflict():
            return Conflict(error.public, detail=error.detail)
        case store.Undecryptable():
            return InternalError(error.public, detail=error.detail)
        case _:
            return InternalError("the store failed", detail=error.public)
