"""Components that real tools built, in this process: what of them goes on after a request, and what does not."""

import gc
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

from skerry.engine import log_lines
from skerry.engine.code import read_code
from skerry.engine.components.guest import entered
from skerry.engine.errors import CallError, FailureKind
from skerry.engine.exchange import Exchange
from skerry.engine.host import JavaScriptEngine
from skerry.engine.http1 import Request
from skerry.engine.instances import RevisionInstance, StreamingInstance, Surroundings
from skerry.engine.manifest import FunctionManifest
from skerry.testing.plugins import built
from tests.system.engine.conftest import CACHE, ROOT

HEAD = b"GET\nhttp://f.test/\nhost\nf.test"
MEMORY_HEAD = b"GET\nhttp://f.test/memory\nhost\nf.test"


class Peer:
    """Takes what it is sent."""

    sent = b""

    def receive(self) -> None:
        raise AssertionError

    def send(self, data: bytes) -> None:
        self.sent += data

    def flush_now(self) -> bool:
        return True

    def fileno(self) -> int:
        raise AssertionError

    def abandon(self) -> None:
        raise AssertionError


class Function:
    """One instance of a program, and what it has said."""

    def __init__(self, engine: JavaScriptEngine, module: str) -> None:
        self.lines: list[bytes] = []
        self.guests: list[weakref.ref[object]] = []
        self.manifest = FunctionManifest("f-1", "f", Path("/x"), env={"GREETING": "hello"})
        code = read_code(engine, built(ROOT, module).read_bytes(), CACHE)
        self.instance: RevisionInstance = code.start(self.manifest, Surroundings(log=self.say))

    def say(self, _level: int, line: bytes) -> None:
        self.lines.append(line)
        if entered.guest is not None:  # what a command says, it says in no guest
            self.guests.append(weakref.ref(entered.guest.store))

    def answer(self, head: bytes = HEAD) -> bytes:
        if not isinstance(self.instance, StreamingInstance):
            return self.instance.handle(head, b"", 60).body
        request, peer = Request(), Peer()
        request.method = b"GET"
        self.instance.answer(head, Exchange(request, peer, self.manifest, lambda: None), 60)
        return peer.sent.partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize("module", ["command-go", "function-python", "http-js"])
def test_what_needs_more_memory_than_its_limit_is_told_so_whatever_its_runtime_makes_of_it(
    engine: JavaScriptEngine, module: str
):
    function = Function(engine, module)
    with pytest.raises(CallError, match=r"limit of 128 MiB \(runtime\.limits\.memory\)") as failed:
        function.answer(MEMORY_HEAD)
    assert failed.value.kind is FailureKind.MEMORY


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
def test_a_wasi_http_component_has_a_memory_of_its_own_for_each_request_which_ends_with_it(engine: JavaScriptEngine):
    function = Function(engine, "http-js")
    assert [function.answer() for _ in range(3)] == [b"hello from js"] * 3
    assert len(function.guests) == 3
    assert [store() for store in function.guests] == [None] * 3


@pytest.mark.usefixtures("no_collector")
def test_an_instance_of_our_world_ends_when_nobody_has_it(engine: JavaScriptEngine):
    function = Function(engine, "function-python")
    assert [function.answer() for _ in range(3)] == [b"hello from python"] * 3
    stores = function.guests
    assert len({store() for store in stores}) == 1
    assert None not in {store() for store in stores}
    del function.instance
    assert {store() for store in stores} == {None}


def test_each_request_has_a_share_of_the_log(engine: JavaScriptEngine, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(log_lines, "LOG_LINES_MAX", 1)
    function = Function(engine, "function-python")
    for _ in range(3):
        function.answer()
    assert function.lines.count(b"said by python") == 3
