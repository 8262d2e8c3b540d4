"""What becomes of a run that failed for good: `onFailure`, and the dead letter that tells of it.

Skerry's own addition to Dispatch, which only logged such failures. Owns the fields and their rules; who delivers dead
letters is `controllers.dispatch_failures`.
"""

from collections.abc import Iterator

from skerry.api.fields import FieldError, required
from skerry.api.model import Model


class FailureTarget(Model):
    """Who is told of a run that failed and is not tried again; exactly one of function and subscription."""

    function: str | None = None
    """A function, which is run with what is known of the failure as its input."""
    subscription: str | None = None
    """A subscription: its function is run likewise, with its secrets and retries, whatever it subscribes to."""


class DeadLetter(Model):
    """What became of telling about a failed run."""

    run: str | None = None
    """The run that was begun to tell it."""
    reason: str | None = None
    """Why none was."""


def validate_failure_target(target: FailureTarget | None, path: str) -> Iterator[FieldError]:
    """Check an `onFailure`."""
    if target is not None and bool(target.function) == bool(target.subscription):
        yield required(path, "exactly one of function and subscription must be given")
