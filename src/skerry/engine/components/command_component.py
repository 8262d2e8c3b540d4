"""Components of `wasi:cli`: programs that read standard input, write standard output, and end.

A request is answered as by a WASI preview 1 command (`wasi_command`), CGI style. Each run has an instance of its own,
and with it a memory. What is written to standard error is the function's log.
"""

import re

from wasmtime import Engine as WasmEngine
from wasmtime import WasmtimeError
from wasmtime.component import Component

from skerry.engine.components import wasi
from skerry.engine.components.calls import ExitedError, Export
from skerry.engine.components.guest import Guest, GuestEndedError, Pollable, always_ready
from skerry.engine.components.imports import BoundImports, Interface, Offer
from skerry.engine.components.streams import StreamClosedError
from skerry.engine.components.values import Err
from skerry.engine.errors import CallError, FailureKind
from skerry.engine.exchange import response_too_large
from skerry.engine.instances import Reply, Surroundings
from skerry.engine.manifest import FunctionManifest
from skerry.engine.wasi_command import HEAD_BYTES_MAX, cgi_environment, cgi_reply

COMMAND = "wasi:cli/run"
COMMAND_VERSIONS = re.compile(r"0\.2\.\d+")
#: What a run is counted for; its memory can't be looked into.
RUN_BYTES = 16 * 1024 * 1024
_FAILED = "the program exited with a failure; its log says what it wrote to standard error"


class _Given:
    """Standard input: all of it is there."""

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)

    def take(self, bytes_max: int) -> bytes:
        """Return the next of it; raises StreamClosedError at its end."""
        if not self._data:
            raise StreamClosedError
        taken, self._data = bytes(self._data[:bytes_max]), self._data[bytes_max:]
        return taken

    def pollable(self) -> Pollable:
        """Return what is ready."""
        return always_ready()


class _Run(Guest):
    """An instance for one run, and its standard streams; it is its standard output itself."""

    def __init__(self, engine: WasmEngine, manifest: FunctionManifest, surroundings: Surroundings) -> None:
        super().__init__(engine, manifest, surroundings)
        self.given = _Given(b"")
        self.written = bytearray()
        self._manifest = manifest

    def put(self, data: bytes) -> None:
        """Take what is written to standard output."""
        self.written += data
        if len(self.written) > HEAD_BYTES_MAX + self._manifest.response_body_bytes_max:
            raise GuestEndedError(response_too_large(self._manifest))


_OFFER: Offer = {
    **wasi.OFFER,
    "wasi:cli/stdin": Interface(wasi.VERSIONS, {"get-stdin": lambda guest: guest.given}),
    "wasi:cli/stdout": Interface(wasi.VERSIONS, {"get-stdout": lambda guest: guest}),
}


class CommandComponent:
    """A component that is a program; `code.Code`.

    Args:
        engine: with epoch interruption.
        component: compiled.
        interface: the full name of `wasi:cli/run` as it exports it.

    Raises:
        LoadError: it imports what is not offered, or exports something else by this name.
    """

    streams = False
    answers = True
    filters = False

    def __init__(self, engine: WasmEngine, component: Component, interface: str) -> None:
        self.what = f"a component that exports {interface}"
        self._engine = engine
        self._imports = BoundImports(engine, component, _OFFER)
        self._run = Export(engine, component, interface, "run", numbers=self._imports.number_of).require(
            "() -> result<_, _>"
        )

    def start(self, manifest: FunctionManifest, surroundings: Surroundings) -> "CommandComponentInstance":
        """Return what runs the program, once for each request or message."""
        return CommandComponentInstance(self, manifest, surroundings)

    def run(self, guest: _Run) -> object:
        """Run the program in a guest that is entered; raises WasmtimeError, CallError and ExitedError."""
        return self._run.bind(guest, self._imports.instantiate(guest))()

    def new_guest(self, manifest: FunctionManifest, surroundings: Surroundings) -> _Run:
        """Return what the next run is made in."""
        return _Run(self._engine, manifest, surroundings)


class CommandComponentInstance:
    """Runs a program, once for each request or message; `instances.ProgramInstance`."""

    def __init__(self, code: CommandComponent, manifest: FunctionManifest, surroundings: Surroundings) -> None:
        self.counted_bytes = self.cpu_ns = 0
        self.invocation = surroundings.invocation
        self._code = code
        self._manifest = manifest
        self._surroundings = surroundings
        self._guest: _Run | None = None

    @property
    def filter(self) -> None:
        """A program knows an answer alone."""
        return

    @property
    def memory_bytes(self) -> int:
        """What it is counted for."""
        return RUN_BYTES

    def stop(self, error: CallError) -> None:
        """Have the present run end; see `PooledInstance`."""
        if self._guest is not None:
            self._guest.time.stop(error)

    def handle(self, head: bytes, body: bytes, timeout_seconds: float) -> Reply:
        """Run the program for one request; see `FunctionInstance`."""
        return cgi_reply(self.run(cgi_environment(head, body, self._manifest.env), body, timeout_seconds))

    def run(self, environment: dict[str, str], given: bytes, timeout_seconds: float) -> bytes:
        """Run the program; see `ProgramInstance`."""
        guest = self._guest = self._code.new_guest(self._manifest, self._surroundings)
        guest.env, guest.given = environment, _Given(given)
        guest.enter(self, timeout_seconds)
        try:
            ended = self._code.run(guest)
        except ExitedError:
            ended = None
        except CallError as failure:
            raise guest.cause_of(failure) from None  # it may be the very same
        except WasmtimeError as error:
            first = str(error).strip().splitlines()[0]
            raise CallError(FailureKind.LOAD, f"no instance can be made of the program: {first}") from error
        finally:
            self.cpu_ns = guest.leave()
            self._guest = None
            guest.resources.clear()
        if isinstance(ended, Err):
            raise CallError(FailureKind.EXCEPTION, _FAILED)
        return bytes(guest.written)

    def settle(self, timeout_seconds: float) -> None:
        """Nothing is left to do after a run."""
