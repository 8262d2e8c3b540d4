"""The three ways in which a run fails, as the caller, the function or the system is to blame.

Source: Dispatch's InvocationError, and its UserError and FunctionError interfaces.
"""

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

#: What is kept of an error's message and of its stack trace: beside each other, as a run's reason repeats the message.
MESSAGE_CHARACTERS_MAX = 16 << 10
STACKTRACE_CHARACTERS_MAX = 64 << 10
#: What a function that took too long is told to have done.
TIMED_OUT = "Function execution exceeded the timeout"


class SchemaError(ValueError):
    """A schema that is none, or too heavy; its text says where and why."""


class InvocationError(Exception):
    """A run that failed.

    What it says can be kept: so much of it, and half of a surrogate pair, which no UTF-8 is, as a question mark.

    Attributes:
        type: InputError, FunctionError or SystemError.
        message: what went wrong, for people.
        stacktrace: lines, outermost call first; those of the function where it raised, else empty.
    """

    type: ClassVar[str] = ""

    def __init__(self, message: str, stacktrace: Iterable[str] = ()) -> None:
        self.message = _kept(message, MESSAGE_CHARACTERS_MAX)
        super().__init__(self.message)
        lines = _kept("\n".join(stacktrace), STACKTRACE_CHARACTERS_MAX)
        self.stacktrace = tuple(lines.split("\n")) if lines else ()

    def as_object(self) -> dict[str, Any]:
        """Give the error as runs carry it: `{"type": str, "message": str, "stacktrace": [str]}`."""
        return {"type": self.type, "message": self.message, "stacktrace": list(self.stacktrace)}


class InputError(InvocationError):
    """The caller is to blame: input against the schema, a secret or a service binding that is not there."""

    type = "InputError"


class FunctionError(InvocationError):
    """The function is to blame: it raised, took too long, or returned what its schema or JSON does not allow."""

    type = "FunctionError"


class BuildError(FunctionError):
    """The function's image could not be built of its code."""


class SystemError(InvocationError):  # noqa: A001 - Dispatch's name; Python's own SystemError is the interpreter's alone
    """Neither is: the function could not be reached, its process ended, its answer was no message."""

    type = "SystemError"


class NoDeployment(SystemError):
    """The deployment that was to run is not there, or about to be removed; nothing of the run has happened."""


def _kept(text: str, characters_max: int) -> str:
    left_out = len(text) - characters_max
    if left_out > 0:
        text = f"{text[:characters_max]}... [and {left_out} more characters]"
    return text.encode(errors="replace").decode()


#: What the godoc calls an input error.
UserError = InputError

_CLASSES: dict[str, type[InvocationError]] = {c.type: c for c in (InputError, FunctionError, SystemError)}


def error_of(document: Any) -> InvocationError | None:
    """Read the `error` of a returned context, leniently, as runtimes differ in what they fill in.

    Args:
        document: `{"type": str, "message": str, "stacktrace": [str]}`, of which type and stacktrace may be missing;
            whatever has no object's shape is no error.

    Returns:
        The error, a FunctionError where the type is missing or unknown; None where there is none.
    """
    if not document or not isinstance(document, Mapping):
        return None
    lines = document.get("stacktrace")
    stacktrace = [str(line) for line in lines] if isinstance(lines, list) else []
    return _CLASSES.get(str(document.get("type")), FunctionError)(str(document.get("message", "")), stacktrace)
