"""How a message gets into an instance and its answer out, by what the instance is.

A message is `{"context": {}, "payload": any}`, and so is its answer, whose context has `error`. JavaScript and
components take it as the body of a request; a program takes it on standard input and answers on standard output.

What went wrong outside of the function's own code is told with Dispatch's three error types: a function that throws, or
is over a limit of its own, is to blame itself; a trap, or a worker without room, is the system's fault.
"""

import re

import orjson

from skerry.engine.errors import CallError, EngineError, FailureKind, LoadError
from skerry.engine.instances import ProgramInstance, RevisionInstance, StreamingInstance
from skerry.engine.javascript import Instance as JavaScriptInstance
from skerry.engine.messages.frames import failure

_HEAD = b"POST\nhttp://function/\ncontent-type\napplication/json"
_OK = 200
_NO_MESSAGES = (
    "the function's binary is a component of wasi:http, which takes requests and no messages; accepted is a WASI "
    "preview 1 command, or a component that exports wasi:cli/run@0.2 or skerry:function/handler@0.1"
)
#: Frames of what stands between the engine and the function: they say nothing to its author.
_NOT_THE_AUTHORS = re.compile(r"\bskerry-entry\.js\b|@(?:engine|bindings)\.js:")
_FUNCTIONS_FAULT = frozenset((
    FailureKind.EXCEPTION,
    FailureKind.TIMEOUT,
    FailureKind.MEMORY,
    FailureKind.CPU_TIME,
    FailureKind.TIMERS,
    FailureKind.BAD_RESPONSE,
    FailureKind.RESPONSE_TOO_LARGE,
    FailureKind.LOAD,
))  # fmt: skip


def call(instance: RevisionInstance, message: bytes, timeout_seconds: float) -> bytes:
    """Have an instance answer a message.

    Returns:
        What the function wrote: a message, unless the function made it so that it is none.

    Raises:
        CallError: it did not answer; the instance is dead.
    """
    if isinstance(instance, ProgramInstance):
        return instance.run({}, message, timeout_seconds)
    if isinstance(instance, StreamingInstance):
        raise CallError(FailureKind.LOAD, _NO_MESSAGES)
    reply = instance.handle(_HEAD, message, timeout_seconds)
    if reply.status != _OK and isinstance(instance, JavaScriptInstance):
        return _in_source(instance, reply.body)
    return reply.body


def check(instance: RevisionInstance) -> None:
    """Refuse what can't be asked with messages; raises LoadError."""
    if isinstance(instance, StreamingInstance):
        raise LoadError(_NO_MESSAGES)


def _in_source(instance: JavaScriptInstance, body: bytes) -> bytes:
    """Rewrite the stack trace of an error that the entry of a JavaScript bundle caught."""
    try:
        told = orjson.loads(body)
        error = told["context"]["error"]
        text = instance.frames("\n".join(map(str, error["stacktrace"])))
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return body  # the function has tampered with the entry: whoever reads it sees what it is
    error["stacktrace"] = [line for line in text.split("\n") if line and not _NOT_THE_AUTHORS.search(line)]
    return orjson.dumps(told)


def failed(error: EngineError) -> bytes:
    """Return the answer of a run that ended without one."""
    if isinstance(error, CallError):
        kind = "FunctionError" if error.kind in _FUNCTIONS_FAULT else "SystemError"
        return failure(kind, error.message, "\n".join(filter(None, (error.message, error.stack))))
    if isinstance(error, LoadError):
        return failure("FunctionError", error.message, error.stack)
    return failure("SystemError", error.public)
