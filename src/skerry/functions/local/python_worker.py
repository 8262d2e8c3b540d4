"""Runs one Python function, in a process of its own: the other side of `process.py`.

It runs on the function's own Python, where nothing of Skerry is installed, so it imports the standard library alone.

    python -I python_worker.py SOCKET_FD MESSAGES_FD FOLDER HANDLER LIMITS

A message on the socket is 4 bytes of length, big-endian, and as many of JSON. The worker sends one when the function is
loaded, `{"error": null}`, or `{"error": {"type", "message", "stacktrace"}}` and ends. Then it answers each
`{"context": {}, "payload": any}` with `{"context": {"error": null | {}, "seconds": float}, "payload": any}`: how long
the call took. It takes the messages, one at a time, from MESSAGES_FD: the same socket, or one of packets. A packet is a
message, or the length of one whose rest is in the file that comes along; what follows in it is for who sent it. What
the function prints goes to descriptors 1 and 2; where these are pipes, an answer is sent when what was printed before
it has been read. LIMITS is a JSON object, name of an rlimit to its value.
"""

import array
import asyncio
import contextlib
import ctypes
import fcntl
import importlib
import inspect
import io
import json
import os
import resource
import signal
import socket
import stat
import struct
import sys
import termios
import time
import traceback
from typing import Any

#: What a function raises about its input, by the protocol of Dispatch's Python runtime.
INPUT_ERRORS = (ValueError, TypeError)
PR_SET_PDEATHSIG = 1
READ_BYTES = 1 << 16
LENGTH = struct.Struct(">I")
#: How long an answer waits until what was printed has been read, at most: somebody may print all the time.
PRINTS_READ_SECONDS_MAX = 0.25
PRINTS_READ_LOOK_SECONDS = 0.0002
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


def described(error: BaseException, kind: str, folder: str, skip: int) -> dict[str, Any]:
    """Describe an exception as runs carry it: its stack trace from the function on, files by their author's names."""
    frame = error.__traceback__
    while skip and frame is not None and frame.tb_next is not None:
        frame, skip = frame.tb_next, skip - 1
    text = "".join(traceback.format_exception(type(error), error, frame)).replace(f'File "{folder}{os.sep}', 'File "')
    name = type(error).__name__
    try:
        message = str(error) or name
    except Exception as raised:  # noqa: BLE001 - by the function's own __str__
        message = f"{name}, whose own message can't be told: {type(raised).__name__}"
    return {"type": kind, "message": message, "stacktrace": text.rstrip().split("\n")}


class Worker:
    """Answers messages with one function.

    Args:
        folder: of the function's source.
        answers: where they are answered.
        messages: where they come.
    """

    def __init__(self, folder: str, answers: socket.socket, messages: socket.socket) -> None:
        self.folder = folder
        self.answers = answers
        self.messages = messages
        self.loop: asyncio.AbstractEventLoop | None = None
        #: Kept apart from 1 and 2, which the function may close.
        self.printed = [os.dup(out) for out in (1, 2) if stat.S_ISFIFO(os.fstat(out).st_mode)]

    def send(self, message: bytes) -> None:
        """Send one message."""
        self.answers.sendall(LENGTH.pack(len(message)) + message)

    def receive(self) -> Any:
        """Receive one message; None at the end."""
        frame, came_along, _, _ = self.messages.recvmsg(READ_BYTES, socket.CMSG_SPACE(4))
        if len(frame) < LENGTH.size:
            return None
        end = LENGTH.size + LENGTH.unpack_from(frame)[0]
        if came_along:
            (file,) = array.array("i", came_along[0][2])
            body = os.pread(file, end, 0)
            os.close(file)
            return DECODE(body.decode())
        while len(frame) < end:
            more = self.messages.recv(end - len(frame))
            if not more:
                return None
            frame += more
        return DECODE(frame[LENGTH.size : end].decode())

    def wait_for_prints(self) -> None:
        """Wait until what was printed has been read."""
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):  # it is the function's, which may have closed it, or put another there
                stream.flush()
        end = None
        for out in self.printed:
            while fcntl.ioctl(out, termios.FIONREAD, b"\0\0\0\0") != b"\0\0\0\0":
                end = end or time.monotonic() + PRINTS_READ_SECONDS_MAX
                if time.monotonic() > end:
                    return
                time.sleep(PRINTS_READ_LOOK_SECONDS)

    def called(self, function: Any, message: Any) -> Any:
        """Call the function with a message, and wait for what it returns."""
        output = function(message["context"], message["payload"])
        if inspect.iscoroutine(output):
            self.loop = self.loop or asyncio.new_event_loop()
            output = self.loop.run_until_complete(output)
        return output

    def answer(self, function: Any, message: Any) -> bytes:
        """Call the function with a message, and describe what came of it."""
        error: dict[str, Any] | None = None
        output = None
        began = time.perf_counter()
        try:
            output = self.called(function, message)
        except (Exception, SystemExit) as raised:  # noqa: BLE001 - the function's, whatever it is
            kind = "InputError" if isinstance(raised, INPUT_ERRORS) else "FunctionError"
            error = described(raised, kind, self.folder, skip=2)
        self.wait_for_prints()
        seconds = time.perf_counter() - began
        try:
            return ENCODE({"context": {"error": error, "seconds": seconds}, "payload": output}).encode()
        except (TypeError, ValueError, RecursionError) as raised:
            error = {"type": "FunctionError", "message": f"output is no JSON: {raised}", "stacktrace": []}
            return ENCODE({"context": {"error": error, "seconds": seconds}, "payload": None}).encode()


def main(descriptors: tuple[int, int], folder: str, handler: str, limits: dict[str, int]) -> None:
    """Load the function, tell it, and answer until the socket closes."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    for name, value in limits.items():
        resource.setrlimit(getattr(resource, name), (value, value))
    worker = Worker(folder, *(socket.socket(fileno=descriptor) for descriptor in descriptors))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # whoever follows the run sees a line when it is printed
    sys.path.insert(0, folder)
    sys.argv = [folder]
    try:
        function = handler_of(folder, handler)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a module may raise anything
        worker.send(json.dumps({"error": described(error, "FunctionError", folder, skip=0)}).encode())
        return
    worker.send(b'{"error":null}')
    while (message := worker.receive()) is not None:
        worker.send(worker.answer(function, message))


if __name__ == "__main__":
    main((int(sys.argv[1]), int(sys.argv[2])), sys.argv[3], sys.argv[4], json.loads(sys.argv[5]))
