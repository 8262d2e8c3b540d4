"""Components that export `wasi:http/incoming-handler`, as those for `wasmtime serve`, Spin and jco do.

Each request has an instance of its own, as it has with `wasmtime serve`: what a component keeps in memory is gone with
the request. Making one takes 0.1 ms, since memory is mapped and copied when it is written to.
"""

import contextlib

from wasmtime import Engine as WasmEngine
from wasmtime import WasmtimeError
from wasmtime.component import Component

from skerry.engine.components import fields, incoming, outgoing, wasi
from skerry.engine.components.calls import ExitedError, Export, ExportedFunction
from skerry.engine.components.guest import Guest
from skerry.engine.components.imports import BoundImports, Interface, Offer
from skerry.engine.components.incoming import IncomingRequest, ResponseOutparam
from skerry.engine.errors import CallError, FailureKind, LoadError
from skerry.engine.exchange import Exchange
from skerry.engine.instances import StreamingInstance, Surroundings
from skerry.engine.manifest import FunctionManifest

HTTP_HANDLER = "wasi:http/incoming-handler"
HTTP_VERSIONS = wasi.VERSIONS
#: What a request is counted for: its memory is made and dropped with it.
RUN_BYTES = 8 * 1024 * 1024
#: An instance must be made in this time.
START_SECONDS_MAX = 1.0

_OFFER: Offer = {
    **wasi.OFFER,
    "wasi:http/types": Interface(wasi.VERSIONS, {**fields.FUNCTIONS, **incoming.FUNCTIONS, **outgoing.FUNCTIONS}),
    "wasi:http/outgoing-handler": Interface(wasi.VERSIONS, outgoing.HANDLER),
}


class HttpComponent:
    """A component; `code.Code`.

    Args:
        engine: with epoch interruption, whose epoch rises every `interruption.TICK_SECONDS`.
        component: compiled.
        export: the full name of the handler that it exports.

    Raises:
        LoadError: it imports what is not offered.
    """

    streams = True
    answers = True
    filters = False

    def __init__(self, engine: WasmEngine, component: Component, export: str) -> None:
        self.what = f"a component that exports {export}"
        self._engine = engine
        self._imports = BoundImports(engine, component, _OFFER)
        handle = Export(engine, component, export, "handle", numbers=self._imports.number_of)
        self._handle = handle.require("(own, own) -> _")

    def start(self, manifest: FunctionManifest, surroundings: Surroundings) -> "HttpInstance":
        """Return what answers one request after the other; raises LoadError where no instance can be made."""
        instance = HttpInstance(self, manifest, surroundings)
        instance.prepare()
        return instance

    def new_guest(self, manifest: FunctionManifest, surroundings: Surroundings) -> tuple[Guest, ExportedFunction]:
        """Make an instance; raises WasmtimeError."""
        guest = Guest(self._engine, manifest, surroundings)
        guest.enter(None, START_SECONDS_MAX)
        try:
            return guest, self._handle.bind(guest, self._imports.instantiate(guest))
        finally:
            guest.leave()


class HttpInstance(StreamingInstance):
    """Answers requests, each in an instance of its own; `instances.StreamingInstance`."""

    def __init__(self, code: HttpComponent, manifest: FunctionManifest, surroundings: Surroundings) -> None:
        self.counted_bytes = self.cpu_ns = 0
        self.invocation = surroundings.invocation
        self._guest: Guest | None = None
        self._code = code
        self._manifest = manifest
        self._surroundings = surroundings
        self._prepared: tuple[Guest, ExportedFunction] | None = None

    def prepare(self) -> None:
        """Make the instance of the next request; raises LoadError."""
        try:
            self._prepared = self._code.new_guest(self._manifest, self._surroundings)
        except WasmtimeError as error:
            first = str(error).strip().splitlines()[0]
            raise LoadError(f"no instance can be made of the function's binary: {first}", stack=str(error)) from error

    @property
    def memory_bytes(self) -> int:
        """What it is counted for."""
        return RUN_BYTES

    def stop(self, error: CallError) -> None:
        """Have the present call end; see `StreamingInstance`."""
        if self._guest is not None:
            self._guest.time.stop(error)

    def answer(self, head: bytes, exchange: Exchange, timeout_seconds: float) -> None:
        """Answer one request; see `StreamingInstance`."""
        if self._prepared is None:
            self.prepare()
        prepared, self._prepared = self._prepared, None
        assert prepared is not None  # noqa: S101 - `prepare` has made it, or raised
        guest, handle = prepared
        self._guest = guest
        guest.before_poll = exchange.flush
        outparam = ResponseOutparam(exchange)
        guest.enter(self, timeout_seconds)
        try:
            with contextlib.suppress(ExitedError):
                handle(IncomingRequest(head, exchange), outparam)
            _check_answered(outparam, exchange)
        except CallError as failure:
            raise guest.cause_of(failure) from None  # it may be the very same
        finally:
            self.cpu_ns = guest.leave()
            self._guest = None
            guest.resources.clear()


def _check_answered(outparam: ResponseOutparam, exchange: Exchange) -> None:
    """Raise CallError where the handler has returned without a whole answer."""
    if exchange.is_answered:
        return
    if outparam.refused is not None:
        case, payload = outparam.refused
        message = f"the function answered with the error {case}" + (f" ({payload})" if payload is not None else "")
        raise CallError(FailureKind.EXCEPTION, message)
    if outparam.is_set:
        raise CallError(FailureKind.BAD_RESPONSE, "the function did not finish the body of its response")
    raise CallError(FailureKind.BAD_RESPONSE, "the function returned without a response")
