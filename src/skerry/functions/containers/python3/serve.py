"""The server within containers of Python functions: Dispatch's runtime protocol over HTTP.

    python3 serve.py            serves $HANDLER of the working directory on $PORT, with $SERVERS processes
    python3 serve.py --check    loads the function once, and tells by its exit code whether that went well

`GET /healthz` answers 200 where runs would be answered; `POST` of `{"context": {}, "payload": any}` on any path answers
200 with `{"context": {"error": null | {}, "logs": {"stdout": [], "stderr": []}}, "payload": any}`, failed or not. The
deadline of a context is kept to: the process of a run that is late is killed, and another started.

It runs on the container's own Python, where nothing of Skerry is installed, so it imports the standard library alone.
The functions run in processes of python_worker.py, one run at a time each; a run waits for one that is free.
"""

import json
import os
import queue
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, BinaryIO, cast

#: A message to or from the function.
MESSAGE_BYTES_MAX = 16 << 20
#: What one run may print to each of stdout and stderr; what is over it is dropped, and a line tells so.
OUTPUT_BYTES_MAX = 1 << 20
#: How long a body is, as its head tells; what has more digits is none.
LENGTH = re.compile(r"[0-9]{1,19}")
LOAD_SECONDS_MAX = 60.0
#: How long a connection may be idle.
IDLE_SECONDS_MAX = 600.0
#: Of each process; the container bounds memory and processor time.
LIMITS = {"RLIMIT_NOFILE": 256, "RLIMIT_FSIZE": 1 << 28, "RLIMIT_CORE": 0}
FOLDER = str(Path.cwd())

TOO_LATE = "Did not invoke, already exceeded timeout"
TIMED_OUT = "Function execution exceeded the timeout"


class RunError(Exception):
    """A run that failed without an answer of the function; `kind` is who is to blame."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind

    def as_object(self) -> dict[str, Any]:
        """Give the error as runs carry it."""
        return {"type": self.kind, "message": str(self), "stacktrace": []}


class Printed:
    """What comes out of one descriptor of a process: a file, emptied after each run."""

    def __init__(self) -> None:
        # Open as long as the process: it is its descriptor.
        self.file: BinaryIO = cast("BinaryIO", tempfile.TemporaryFile("ab+", buffering=0))  # noqa: SIM115

    def take(self) -> list[str]:
        """Give the lines since the last call."""
        size = os.fstat(self.file.fileno()).st_size
        text = os.pread(self.file.fileno(), OUTPUT_BYTES_MAX, 0)
        self.file.truncate(0)
        lines = text.decode(errors="replace").splitlines()
        if size > len(text):
            lines.append(f"[{size - len(text)} more bytes were dropped]")
        return lines


class Worker:
    """One process with the function loaded."""

    def __init__(self, handler: str) -> None:
        """Start it, and wait until it has loaded the function.

        Raises:
            RunError: the function does not load.
        """
        ours, theirs = socket.socketpair()
        self.connection, self.printed = ours, (Printed(), Printed())
        script = str(Path(__file__).with_name("python_worker.py"))
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-B", script, *2 * [str(theirs.fileno())], FOLDER, handler, json.dumps(LIMITS)],
                cwd=FOLDER,
                stdin=subprocess.DEVNULL,
                stdout=self.printed[0].file,
                stderr=self.printed[1].file,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        try:
            error = self._receive(LOAD_SECONDS_MAX).get("error")
        except RunError:
            self.kill()
            raise
        if error:
            self.kill()
            raise RunError(error["type"], "\n".join([error["message"], *error["stacktrace"]]))

    def call(self, message: Any, seconds: "float | None") -> Any:
        """Send a message and return the answer. After an error the process is of no use, and to be killed.

        Raises:
            RunError: the process ended, or took longer than `seconds`.
        """
        body = json.dumps(message).encode()
        self.connection.settimeout(seconds)
        try:
            self.connection.sendall(struct.pack(">I", len(body)) + body)
        except TimeoutError as error:
            raise RunError("FunctionError", TIMED_OUT) from error
        except OSError as error:
            raise RunError("SystemError", f"the function's process ended: {error}") from error
        return self._receive(seconds)

    def _receive(self, seconds: "float | None") -> Any:
        self.connection.settimeout(seconds)
        try:
            (length,) = struct.unpack(">I", self._read(4))
            if length > MESSAGE_BYTES_MAX:
                raise RunError("FunctionError", f"the output has {length} bytes, more than {MESSAGE_BYTES_MAX}")
            return json.loads(self._read(length))
        except (ValueError, RecursionError) as error:
            raise RunError("FunctionError", f"the output is no JSON: {error}") from error
        except TimeoutError as error:
            raise RunError("FunctionError", TIMED_OUT) from error
        except OSError as error:
            raise RunError("SystemError", f"the function's process ended: {error}") from error

    def _read(self, count: int) -> bytes:
        parts, missing = [], count
        while missing:
            part = self.connection.recv(min(missing, 1 << 20))
            if not part:
                raise RunError("SystemError", f"the function's process ended: exit code {self.process.wait()}")
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)

    def logs(self) -> dict[str, list[str]]:
        """Give what was printed since the last call."""
        stdout, stderr = self.printed
        return {"stdout": stdout.take(), "stderr": stderr.take()}

    def kill(self) -> None:
        """End the process and all that it started."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.connection.close()
        self.process.wait()


class Workers:
    """The processes of the function; a run takes one, and gives it back."""

    def __init__(self, handler: str, count: int) -> None:
        """Start them; raises RunError where the function does not load."""
        self._handler = handler
        # A process ends with the thread that started it (PR_SET_PDEATHSIG), so this one stays.
        self._starter = ThreadPoolExecutor(1, "starter")
        self._free: queue.Queue[Worker | None] = queue.Queue()
        self.broken = False
        for _ in range(count):
            self._free.put(self._start())

    def _start(self) -> Worker:
        return self._starter.submit(Worker, self._handler).result()

    def run(self, message: Any) -> Any:
        """Run a message; return the answer, whose context has the logs.

        Raises:
            RunError: it was not begun.
        """
        worker = self._free.get()
        try:
            if worker is None:
                worker = self._start()
                self.broken = False
            seconds = seconds_left(message)
            worker.logs()  # what a thread of the function printed between two runs is of neither
            try:
                answer = worker.call(message, seconds)
                del answer["context"]["seconds"]
                answer["context"]["logs"] = worker.logs()
            except RunError as error:
                answer = failed(error, worker.logs())
                worker.kill()
                worker = self._restarted()
        finally:
            self._free.put(worker)
        return answer

    def _restarted(self) -> "Worker | None":
        """Start another process; None where that fails, and then the next run tries."""
        try:
            return self._start()
        except RunError as error:
            print(error, file=sys.stderr, flush=True)
            self.broken = True
            return None


def seconds_left(message: Any) -> "float | None":
    """Tell how long a run may take by its context's deadline (RFC 3339); None where there is none.

    Raises:
        RunError: it is over.
    """
    deadline = message["context"].get("deadline")
    if not deadline:
        return None
    try:
        end = datetime.fromisoformat(str(deadline))
    except ValueError as error:
        raise RunError("InputError", f"Invalid Input: deadline {deadline!r} is no time") from error
    if end.tzinfo is None:
        raise RunError("InputError", f"Invalid Input: deadline {deadline!r} is in no time zone")
    left = (end - datetime.now(UTC)).total_seconds()
    if left <= 0:
        raise RunError("FunctionError", TOO_LATE)
    return left


def failed(error: RunError, logs: "dict[str, list[str]] | None" = None) -> Any:
    """Give the answer to a run that failed without one of the function."""
    return {"context": {"error": error.as_object(), "logs": logs or {"stdout": [], "stderr": []}}, "payload": None}


def message_of(body: bytes) -> Any:
    """Read a request's body; raises RunError where it is no message."""
    try:
        message = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RunError("InputError", f"Invalid Input: {error}") from error
    if not isinstance(message, dict) or not isinstance(message.get("context") or {}, dict):
        raise RunError("InputError", 'Invalid Input: must be {"context": {}, "payload": any}')
    return {"context": message.get("context") or {}, "payload": message.get("payload")}


class Handler(BaseHTTPRequestHandler):
    """Answers requests with the function."""

    protocol_version = "HTTP/1.1"
    timeout = IDLE_SECONDS_MAX
    wbufsize = -1  # head and body in one packet
    disable_nagle_algorithm = True
    workers: Workers

    def do_GET(self) -> None:
        """Answer whether runs would be."""
        if self.path != "/healthz":
            self._answer(404, {})
        else:
            self._answer(500 if self.workers.broken else 200, {})

    def do_POST(self) -> None:
        """Run the function."""
        length = self._body_bytes()
        if length is None or length > MESSAGE_BYTES_MAX:
            self.close_connection = True
            self._answer(400 if length is None else 413, {})
            return
        try:
            answer = self.workers.run(message_of(self.rfile.read(length)))
        except RunError as error:
            answer = failed(error)
        self._answer(200, answer)

    def _body_bytes(self) -> "int | None":
        """Tell how long the body is; None where that is not told once, in digits."""
        given = self.headers.get_all("content-length") or ["0"]
        if len(given) > 1 or "transfer-encoding" in self.headers or not LENGTH.fullmatch(given[0].strip()):
            return None
        return int(given[0])

    def _answer(self, status: int, document: Any) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's name
        """Say nothing of each request."""


class Server(ThreadingHTTPServer):
    """Takes connections. Many that come together wait: of a short queue, the rest would try again a second later."""

    daemon_threads = True
    request_queue_size = 1024


def main() -> None:
    """Serve until SIGTERM, or check; end with 1 where the function does not load."""
    handler = os.environ.get("HANDLER", "")
    try:
        if "--check" in sys.argv:
            Worker(handler).kill()
            return
        Handler.workers = Workers(handler, int(os.environ.get("SERVERS", "1")))
    except RunError as error:
        sys.exit(str(error))
    server = Server(("", int(os.environ.get("PORT", "8080"))), Handler)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever()


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)  # the processes end with the threads that started them; runs that go on are not waited for
