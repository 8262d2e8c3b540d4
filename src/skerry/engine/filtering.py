"""Requests on their way to a backend, as Envoy shows them (ext_proc): the filters of their rule are called.

Owns: the order of a rule's filters (requests pass them first to last, answers last to first), where bodies come from,
and what a failure means. Does not own what Envoy's messages look like: a `FilterCodec` is handed in; nor instances
(`serving`), nor HTTP/2 (`http2`).

A stream of Envoy's is one request: it shows the request's head, then the answer's, where a filter wants to see that. A
body comes when a filter takes it. All filters of a rule run in one stream, so that a second one costs a call, no hop.
"""

from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple, Protocol, TypeVar

from skerry.engine.connection import Asked
from skerry.engine.errors import CallError, EngineError, FailureKind, UnreadableBodyError
from skerry.engine.exchange import Peer
from skerry.engine.filter_heads import NO_RESPONSE, Changes, Fields, RequestHead, ResponseHead
from skerry.engine.http1 import RequestError, error_fields, error_text
from skerry.engine.http2 import Stream, StreamMessage
from skerry.engine.instances import NOT_A_FILTER, BodySource, Filter, FilterReply, StreamingInstance
from skerry.engine.leases import Lease
from skerry.engine.measures import Use
from skerry.engine.refusals import kind_of, status_of
from skerry.engine.serving import Answer, Called, FunctionServer

#: A body that a filter takes, or gives. Envoy holds it back until the filter has answered, and so buffers it: this is
#: its limit for one stream (`gateway.envoy_config.CONNECTION_BUFFER_BYTES_MAX`).
FILTER_BODY_BYTES_MAX = 1024 * 1024
#: Metadata of a stream: the revisions in their order, each with `;open` behind it where its failure lets pass.
FILTERS_METADATA = "x-skerry-filters"

T = TypeVar("T")
Phase = Literal["request", "response"]
SWITCHING_PROTOCOLS = 101

_TOO_LARGE = f"the body is larger than {FILTER_BODY_BYTES_MAX >> 20} MiB: a filter sees no more, and lets it pass by"


class Arrived(Protocol):
    """What Envoy shows.

    Attributes:
        phase: of what message.
        is_body: whether it is the body, which had been asked for, or the head.
        fields: the headers, with `:method` and the like.
        body: of the message, or its begin where it is over the limit.
        is_last: whether the message ends here.
    """

    @property
    def phase(self) -> Phase: ...  # noqa: D102 - above
    @property
    def is_body(self) -> bool: ...  # noqa: D102
    @property
    def fields(self) -> Fields: ...  # noqa: D102
    @property
    def body(self) -> bytes: ...  # noqa: D102
    @property
    def is_last(self) -> bool: ...  # noqa: D102


class FilterCodec(Protocol):
    """Envoy's messages."""

    def read(self, message: bytes) -> Arrived:
        """Read what Envoy shows; raises ValueError."""
        ...

    def ask_for_body(self, phase: Phase, *, is_measured: bool) -> bytes:
        """Answer a head: show its body, too; `is_measured` where its length was declared, and is within the limit."""
        ...

    def go_on(
        self, phase: Phase, changes: Changes, body: bytes | None, *, had_body: bool, is_measured: bool, is_last: bool
    ) -> bytes:
        """Answer a head, or its body where `had_body`: the message goes on, with a body where there is a new one."""
        ...

    def respond(self, status: int, fields: Fields, body: bytes) -> bytes:
        """Answer whatever was shown: the client gets this response."""
        ...


class FilterCall(NamedTuple):
    """One of a rule's filters: which revision, and whether messages go on unchanged where it fails."""

    revision: str
    fails_open: bool


def calls_of(metadata: str) -> Iterator[FilterCall]:
    """Read the filters of a rule from a stream's metadata."""
    for entry in metadata.split(","):
        revision, _, mode = entry.strip().partition(";")
        yield FilterCall(revision, fails_open=mode == "open")


class FilteredServer:
    """Answers requests with functions, and Envoy's streams with filters; called from many threads.

    Args:
        functions: has the instances.
        codec: reads and writes Envoy's messages.
        listen_aside: called before the calling thread waits for what Envoy shows next.
    """

    def __init__(self, functions: FunctionServer, codec: FilterCodec, listen_aside: Callable[[], None]) -> None:
        self.functions = functions
        self.codec = codec
        self.listen_aside = listen_aside

    def answer(self, asked: Asked, peer: Peer) -> Answer:
        """Answer a request, or one message of a stream."""
        if not isinstance(asked, StreamMessage):
            return self.functions.answer(asked, peer)
        stream, arrived = asked.stream, self.codec.read(asked.data)
        if arrived.phase == "request" and not arrived.is_body:
            passage = stream.state = _Passage(self, stream, arrived)
            return passage.request(arrived)
        if arrived.phase == "response" and not arrived.is_body and isinstance(stream.state, _Passage):
            return stream.state.response(arrived)
        raise ConnectionAbortedError("Envoy shows what it was not asked for")

    def streams(self, revision: str) -> bool:
        """Tell whether a revision's requests are answered while they arrive; see `FunctionServer.streams`."""
        return self.functions.streams(revision)

    def body_bytes_max(self, revision: str | None) -> int:
        """Return how long the body of a request may be; see `FunctionServer.body_bytes_max`."""
        return self.functions.body_bytes_max(revision)

    def refuse(self, error: RequestError) -> bytes:
        """Answer what is no request; see `FunctionServer.refuse`."""
        return self.functions.refuse(error)


class _Response(NamedTuple):
    """An answer on its way to the client; `is_new` where it is not the backend's, changed or not."""

    head: ResponseHead
    body: bytes
    is_new: bool = True


class _Passage:
    """A request's way through the filters of its rule, and its answer's way back."""

    def __init__(self, server: FilteredServer, stream: Stream, arrived: Arrived) -> None:
        self._server = server
        self._stream = stream
        self._calls = tuple(calls_of(stream.metadata.get(FILTERS_METADATA, "")))
        self._original = self._request = RequestHead.of(arrived.fields)
        self._headers = self._original.header_list()
        self._seeing: list[FilterCall] = []  # what has let the request pass, and wants to see the answer
        self._work: list[Callable[[], CallError | None]] = []

    def request(self, arrived: Arrived) -> Answer:
        """Show the request to its filters, and answer for them."""
        body = _Body(self._server, self._stream, arrived, self._original.length)
        for call in self._calls:
            response = self._show_request(call, body)
            if response is not None:
                body = _Body(self._server, self._stream, arrived, None)
                body.new = response.body
                return self._respond(self._show_response(response.head, body))
        changes = self._request.changes_from(self._original)
        is_last = not self._seeing
        return self._answer(body.go_on(changes, is_last=is_last), last=is_last)

    def _show_request(self, call: FilterCall, body: "_Body") -> _Response | None:
        """Show the request to one filter; returns what it answers, or None where the request goes on."""
        sees_response = False

        def use(filter_: Filter, timeout_seconds: float) -> FilterReply:
            nonlocal sees_response
            sees_response = filter_.sees_responses
            return filter_.filter_request(self._request.lines(), body.source(), timeout_seconds)

        def take(reply: FilterReply) -> _Response | None:
            if reply.kind == "response":
                return _Response(NO_RESPONSE.given(reply.status, reply.head), _bounded(reply.body or b""))
            if reply.kind == "request":
                self._request = self._request.given(reply.head)
                body.replace(reply.body)
            return None

        try:
            response = self._call(call, use, take)
        except EngineError as error:
            return _failure(call, error)
        if sees_response and response is None:
            self._seeing.append(call)
        return response

    def response(self, arrived: Arrived) -> Answer:
        """Show the backend's answer to the filters that want to see it, and answer for them."""
        original = ResponseHead.of(arrived.fields)
        body = _Body(self._server, self._stream, arrived, original.length)
        if original.status == SWITCHING_PROTOCOLS:  # it belongs to the connection, and no function could give it
            self._seeing.clear()
        shown = self._show_response(original, body)
        if shown.is_new:
            return self._respond(shown)
        return self._answer(body.go_on(shown.head.changes_from(original), is_last=True), last=True)

    def _show_response(self, head: ResponseHead, body: "_Body") -> _Response:
        """Show an answer to the filters that want to see it, last to first; a failure is the answer in its place."""
        for call in reversed(self._seeing):

            def use(filter_: Filter, timeout_seconds: float, head: ResponseHead = head) -> FilterReply:
                return filter_.filter_response(self._request.lines(), head.lines(), body.source(), timeout_seconds)

            def take(reply: FilterReply, head: ResponseHead = head) -> ResponseHead:
                if reply.kind == "request":
                    raise CallError(FailureKind.BAD_RESPONSE, "the response hook gave a request")
                if reply.kind == "response":
                    head = head.given(reply.status, reply.head)
                    body.replace(reply.body)
                return head

            try:
                head = self._call(call, use, take)
            except EngineError as error:
                if failure := _failure(call, error):
                    return failure
        return _Response(head, body.new or b"", is_new=False)

    def _call(
        self, call: FilterCall, use: Callable[[Filter, float], FilterReply], take: Callable[[FilterReply], T]
    ) -> T:
        """Call a filter, and take what it replies; raises EngineError."""

        def ask(lease: Lease) -> "Called[T]":  # text: it would be evaluated in each call
            instance = lease.instance
            if instance.filter is None:
                raise CallError(FailureKind.LOAD, NOT_A_FILTER)
            reply = use(instance.filter, lease.manifest.timeout_seconds)
            taken = take(reply)
            if isinstance(instance, StreamingInstance) or not reply.work_left:
                return Called(taken, reply.status)
            return Called(taken, reply.status, instance)

        taken, work = self._server.functions.call(Use(call.revision), self._headers, ask)
        if work is not None:
            self._work.append(work)
        return taken

    def _respond(self, response: _Response) -> Answer:
        head = response.head
        return self._answer(self._server.codec.respond(head.status, head.fields, response.body), last=True)

    def _answer(self, message: bytes, *, last: bool) -> Answer:
        work, self._work = self._work, []
        return Answer((self._stream.reply(message, last=last),), _all_of(work) if work else None)


class _Body:
    """The body of the message that is being filtered: brought when a filter takes it.

    Attributes:
        new: what stands in its place; None where it is as it came.
    """

    def __init__(self, server: FilteredServer, stream: Stream, arrived: Arrived, length: int | None) -> None:
        self._server = server
        self._stream = stream
        self._phase = arrived.phase
        self._is_there = not arrived.is_last
        self._is_measured = length is not None
        self._is_too_large = length is not None and length > FILTER_BODY_BYTES_MAX
        self._shown: bytes | None = None
        self._is_cut = False
        self.new: bytes | None = None
        self._was_shown = False

    def source(self) -> BodySource | None:
        """Return where a filter takes it from; None where there is none."""
        if self.new is not None:
            new = self.new
            return (lambda _: new) if new else None
        return self._bring if self._is_there else None

    def _bring(self, deadline_ns: int) -> bytes:
        if self._is_too_large:
            raise UnreadableBodyError(_TOO_LARGE)
        if self._shown is None:
            self._shown = self._shown_by_envoy(deadline_ns)
        if self._is_cut:
            raise UnreadableBodyError(_TOO_LARGE)
        return self._shown

    def _shown_by_envoy(self, deadline_ns: int) -> bytes:
        codec = self._server.codec
        self._server.listen_aside()
        try:
            arrived = codec.read(self._stream.exchange(self._asking(), deadline_ns))
        except ConnectionError as error:
            raise UnreadableBodyError("the message was given up before its body had come") from error
        if not arrived.is_body:
            raise UnreadableBodyError("the message has no body after all")
        self._was_shown = True
        self._is_cut = len(arrived.body) > FILTER_BODY_BYTES_MAX
        return arrived.body

    def _asking(self) -> bytes:
        return self._server.codec.ask_for_body(self._phase, is_measured=self._is_measured)

    def go_on(self, changes: Changes, *, is_last: bool) -> bytes:
        """Return what lets the message go on."""
        return self._server.codec.go_on(
            self._phase,
            changes,
            self.new,
            had_body=self._was_shown,
            is_measured=self._is_measured,
            is_last=is_last,
        )

    def replace(self, body: bytes | None) -> None:
        """Put another one in its place; None leaves it. Raises CallError."""
        if body is None:
            return
        if self._is_cut:
            raise CallError(FailureKind.BAD_RESPONSE, f"{_TOO_LARGE}; so the filter can't replace it")
        self.new = _bounded(body)


def _bounded(body: bytes) -> bytes:
    if len(body) > FILTER_BODY_BYTES_MAX:
        raise CallError(FailureKind.BAD_RESPONSE, f"the filter gives a body of over {FILTER_BODY_BYTES_MAX} bytes")
    return body


def _failure(call: FilterCall, error: EngineError) -> _Response | None:
    """Return the answer to a request whose filter failed; None where it goes on."""
    if call.fails_open or (isinstance(error, CallError) and error.lets_pass):
        return None
    status, kind = status_of(error), kind_of(error)
    if kind is FailureKind.UNKNOWN_REVISION:
        status = 500  # the path that was asked for may well exist
    return _Response(ResponseHead(status, error_fields(status, kind)), error_text(kind, error.public))


def _all_of(work: list[Callable[[], CallError | None]]) -> Callable[[], Answer]:
    def run() -> Answer:
        for each in work:
            each()
        return Answer(())

    return run
