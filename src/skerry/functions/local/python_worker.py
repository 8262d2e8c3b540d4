"""Runs one Python function, in a process of its own: the other side of `process.py`.

It runs on the function's own Python, where nothing of Skerry is installed, so it imports the standard library alone.

    python -I python_worker.py SOCKET_FD FOLDER HANDLER LIMITS

A message on the socket is 4 bytes of length, big-endian, and as many of JSON. The worker sends one when the function is
loaded, `{"error": null}`, or `{"error": {"type", "message", "stacktrace"}}` and ends. Then it answers each
`{"context": {}, "payload": any}` with `{"context": {"error": null | {}}, "payload": any}`. What the function prints
goes to descriptors 1 and 2 and is flushed before each answer. LIMITS is a JSON object, name of an rlimit to its value.
"""

import asyncio
import ctypes
import importlib
import inspect
import io
import json
import os
import resource
import signal
import socket
import struct
import sys
import traceback
from typing import Any

#: What a function raises about its input, by the protocol of Dispatch's Python runtime.
INPUT_ERRORS = (ValueError, TypeError)
PR_SET_PDEATHSIG = 1
#: Made once: `json.dumps` with any option makes an encoder of its own at each call.
ENCODE = json.JSONEncoder(allow_nan=False).encode
DECODE = json.JSONDecoder().decode


def handler_of(folder: str, name: str) -> Any:
    """Find the function that a handler names, as module.function; "" names `handle` in the only file of the folder."""
    if not name:
        files = [f for f in os.listdir(folder) if f.endswith(".py")]  # noqa: PTH208 - a start is worth the import
        if len(files) != 1:
            raise ImportError(f"Exactly 1 source file needed when HANDLER is empty, and there are {len(files)}")
        name = f"{files[0][:-3]}.handle"
    module, dot, attribute = name.rpartition(".")
    if not dot or not module:
        raise ImportError(f"Invalid function file or handler: {name!r} is not of the form module.function")
    function = getattr(importlib.import_module(module), attribute)
    if not callable(function):
        raise TypeError(f"Invalid function file or handler: {name} cannot be called")
    inspect.signature(function).bind({}, None)
    return function


def described(error: BaseException, kind: str, skip: int) -> dict[str, Any]:
    """Describe an exception as runs carry it, with its stack trace from the function on."""
    frame = error.__traceback__
    while skip and frame is not None and frame.tb_next is not None:
        frame, skip = frame.tb_next, skip - 1
    text = "".join(traceback.format_exception(type(error), error, frame))
    return {"type": kind, "message": str(error) or type(error).__name__, "stacktrace": text.rstrip().split("\n")}


class Worker:
    """Answers messages of one socket with one function."""

    def __init__(self, connection: socket.socket) -> None:
        self.stream = connection.makefile("rb", buffering=1 << 16)
        self.connection = connection
        self.loop: asyncio.AbstractEventLoop | None = None

    def send(self, message: bytes) -> None:
        """Send one message, after everything that was printed."""
        sys.stdout.flush()
        sys.stderr.flush()
        self.connection.sendall(struct.pack(">I", len(message)) + message)

    def receive(self) -> Any:
        """Receive one message; None at the end."""
        head = self.stream.read(4)
        return DECODE(self.stream.read(struct.unpack(">I", head)[0]).decode()) if len(head) == 4 else None

    def answer(self, function: Any, message: Any) -> bytes:
        """Call the function with a message, and describe what came of it."""
        try:
            output = function(message["context"], message["payload"])
            if inspect.iscoroutine(output):
                self.loop = self.loop or asyncio.new_event_loop()
                output = self.loop.run_until_complete(output)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the function's, whatever it is
            kind = "InputError" if isinstance(error, INPUT_ERRORS) else "FunctionError"
            return failure(described(error, kind, skip=1))
        try:
            return ENCODE({"context": {"error": None}, "payload": output}).encode()
        except (TypeError, ValueError, RecursionError) as error:
            return failure({"type": "FunctionError", "message": f"output is no JSON: {error}", "stacktrace": []})


def failure(error: dict[str, Any]) -> bytes:
    """Make the answer of a run that failed."""
    return json.dumps({"context": {"error": error}, "payload": None}).encode()


def main(descriptor: int, folder: str, handler: str, limits: dict[str, int]) -> None:
    """Load the function, tell it, and answer until the socket closes."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    for name, value in limits.items():
        resource.setrlimit(getattr(resource, name), (value, value))
    worker = Worker(socket.socket(fileno=descriptor))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # whoever follows the run sees a line when it is printed
    sys.path.insert(0, folder)
    sys.argv = [folder]
    try:
        function = handler_of(folder, handler)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a module may raise anything
        worker.send(json.dumps({"error": described(error, "FunctionError", skip=0)}).encode())
        return
    worker.send(b'{"error":null}')
    while (message := worker.receive()) is not None:
        worker.send(worker.answer(function, message))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3], json.loads(sys.argv[4]))
