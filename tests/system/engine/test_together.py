"""Many requests in one instance, without threads: the test is the event loop, and says which of them goes on when."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from skerry.engine.egress import EgressPolicy
from skerry.engine.errors import CallError, FailureKind
from skerry.engine.fetching import Fetcher
from skerry.engine.instances import Surroundings
from skerry.engine.invocation import Invocation
from skerry.engine.manifest import FunctionManifest
from skerry.engine.open_calls import OpenCall
from skerry.engine.readiness import Readiness
from tests.system.engine.conftest import SECONDS_MAX, Answer, answered, bundled, count_of, handler, without_collection
from tests.system.engine.test_fetch import Upstream

if TYPE_CHECKING:
    from skerry.engine.host import JavaScriptEngine
    from skerry.engine.javascript import Instance


@dataclass
class Together:
    """One instance, whose requests wait without a thread."""

    engine: "JavaScriptEngine"
    fetcher: Fetcher
    readiness: Readiness[OpenCall] = field(default_factory=Readiness)
    invocation: Invocation = field(default_factory=Invocation)
    said: list[tuple[str, str]] = field(default_factory=list)
    on_said: Callable[[], object] = bool

    def load(self, bundle: str, **limits: float) -> "Instance":
        manifest = FunctionManifest(revision="f-1", function="f", artifact=Path("/unused"), **limits)  # type: ignore[arg-type]
        surroundings = Surroundings(
            self._log, self.fetcher.of("f"), invocation=self.invocation, readiness=self.readiness
        )
        return self.engine.start(bundle.encode(), manifest, surroundings)

    def _log(self, _level: int, message: bytes) -> None:
        self.said.append((self.invocation.request_id, message.decode()))
        self.on_said()

    def begin(self, instance: "Instance", path: str, *, timeout_seconds: float = SECONDS_MAX) -> OpenCall:
        """Have a request begin, whose id is its path."""
        request = ([b"x-request-id", path.encode()], 0)
        return instance.begin(request, (f"GET\nhttp://hello.test/{path}".encode(), b""), timeout_seconds)

    def until_due(self, *calls: OpenCall) -> list[str]:
        """Go on with whatever something happens to, until these are due; return the paths of those due, in turn."""
        due: list[str] = []
        until = time.monotonic() + SECONDS_MAX
        while not all(call.is_due for call in calls):
            assert time.monotonic() < until, "nothing happens to them"
            due += self.go_on()
        return due

    def go_on(self) -> list[str]:
        """Go on with those that something has happened to by now; return the paths of those that are due."""
        while self.readiness.started:
            assert self.readiness.started.popleft().send()
        ready = (*self.readiness.ready(time.monotonic()), *self.readiness.reported())
        return [each.held[0][1].decode() for call in ready for each in call.advance()]


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream.running() as server:
        yield server


def result(call: OpenCall) -> Answer:
    answer = call.result()
    return answered(answer)  # type: ignore[arg-type]


def failure(call: OpenCall) -> CallError:
    with pytest.raises(CallError) as raised:
        call.result()
    return raised.value


@pytest.fixture
def together(engine: "JavaScriptEngine") -> Iterator[Together]:
    policy = EgressPolicy.parse(["127.0.0.1"])
    fetcher = Fetcher(lambda _: policy)
    made = Together(engine, fetcher)
    yield made
    fetcher.close()
    made.readiness.close()


PATH = "const path = new URL(request.url).pathname.slice(1);"


def test_requests_that_wait_share_an_instance_and_each_gets_its_own_answer(together: Together, upstream: Upstream):
    instance = together.load(
        handler(
            f"""{PATH} console.log('begins');
                const told = await (await fetch('{upstream.url}/echo?' + path)).json();
                await new Promise((done) => setTimeout(done, 1));
                console.log('ends'); return new Response(told.path);"""
        )
    )
    calls = {path: together.begin(instance, path) for path in ("a", "b", "c")}
    assert not any(call.is_answered for call in calls.values())
    together.until_due(*calls.values())
    assert {path: result(call).body.decode() for path, call in calls.items()} == {p: f"/echo?{p}" for p in calls}
    assert [line for line in together.said if line[1] == "begins"] == [(path, "begins") for path in calls]
    assert sorted(line for line in together.said if line[1] == "ends") == [(path, "ends") for path in calls]
    assert {call.held[1] for call in calls.values()} == {1}  # subrequests


def test_what_happens_to_a_request_before_it_has_left_the_instance_is_not_lost(together: Together, upstream: Upstream):
    """Another thread finds the instance taken then; here it is the function itself, by what it says."""
    together.on_said = lambda: list(together.readiness.started[-1].advance())
    instance = together.load(
        handler(f"const told = fetch('{upstream.url}/echo'); console.log('inside'); return await told;")
    )
    call = together.begin(instance, "a")
    assert not call.is_answered
    assert call in together.readiness.ready(time.monotonic())


def test_a_promise_that_several_requests_wait_for_answers_all_of_them(together: Together):
    instance = together.load(
        handler(
            f"""{PATH}
                if (path === 'open') {{ globalThis.open('opened by ' + path); return new Response('done'); }}
                globalThis.gate ??= new Promise((done) => {{ globalThis.open = done; }});
                const keepsWaiting = setTimeout(() => {{}}, 1e6);
                return new Response(path + ' ' + await globalThis.gate);"""
        )
    )
    waiting = [together.begin(instance, path) for path in ("a", "b", "c")]
    assert result(together.begin(instance, "open")).body == b"done"
    assert set(together.go_on()) == {"a", "b", "c"}
    assert [result(call).body for call in waiting] == [f"{path} opened by open".encode() for path in ("a", "b", "c")]


def test_a_request_that_throws_ends_no_other_and_the_instance_takes_no_further_one(
    together: Together, upstream: Upstream
):
    instance = together.load(
        handler(f"{PATH} if (path === 'bad') throw new RangeError('no'); return fetch('{upstream.url}/echo');")
    )
    good = together.begin(instance, "good")
    assert instance.may_be_joined
    assert failure(together.begin(instance, "bad")).message == "RangeError: no"
    assert not instance.may_be_joined
    together.until_due(good)
    assert result(good).status == 200


def test_a_request_that_computes_without_end_takes_the_others_along_and_each_is_told_why(together: Together):
    instance = together.load(
        handler(f"{PATH} if (path === 'bad') for (;;); await new Promise((done) => setTimeout(done, 1e6));"),
        cpu_seconds_max=0.1,
    )
    beside = [together.begin(instance, path) for path in ("a", "b")]
    assert failure(together.begin(instance, "bad")).kind is FailureKind.CPU_TIME
    together.until_due(*beside)
    for call in beside:
        lost = failure(call)
        assert lost.kind is FailureKind.LOST
        assert "another request of the function ended the instance" in lost.message
        assert "0.1 s (runtime.limits.cpuTime)" in lost.message
    assert instance.is_dead


def test_the_time_limit_of_one_request_is_not_that_of_another(together: Together):
    instance = together.load(
        handler(
            f"""{PATH} if (path === 'release') {{ globalThis.release(); return new Response('released'); }}
                const keepsWaiting = setTimeout(() => {{}}, 1e6);
                await new Promise((done) => {{ if (path === 'patient') globalThis.release = done; }});
                return new Response('late');"""
        )
    )
    patient = together.begin(instance, "patient")
    hasty = together.begin(instance, "hasty", timeout_seconds=1)
    assert together.until_due(hasty) == ["hasty"]
    assert failure(hasty).kind is FailureKind.TIMEOUT
    assert result(together.begin(instance, "release")).body == b"released"
    together.until_due(patient)
    assert result(patient).body == b"late"


def test_what_a_request_computes_is_not_charged_to_those_beside_it(together: Together):
    wait = "await new Promise((done) => setTimeout(done, 1));"
    burn = "let sum = 0; if (path === 'busy') for (let i = 0; i < 1e5; i++) sum += i;"
    instance = together.load(handler(f"{PATH} {wait} {burn} return new Response();"))
    busy, idle = together.begin(instance, "busy"), together.begin(instance, "idle")
    together.until_due(busy, idle)
    assert idle.cpu_ns < busy.cpu_ns


def test_a_request_that_nothing_is_left_for_is_told_once_no_other_could_go_on_with_it(together: Together):
    instance = together.load(
        handler(
            f"""{PATH} if (path === 'waits') await new Promise((done) => setTimeout(done, 50));
                else await new Promise(() => {{}}); return new Response('waited');"""
        )
    )
    waits, never = together.begin(instance, "waits"), together.begin(instance, "never")
    assert not never.is_answered  # the other may still resolve what it waits for
    together.until_due(waits, never)
    assert result(waits).body == b"waited"
    assert "it waits for a promise that nothing is left to resolve" in failure(never).message


def test_the_body_of_anothers_subrequest_is_read_while_that_lives_and_is_an_error_after(
    together: Together, upstream: Upstream
):
    instance = together.load(
        handler(
            f"""{PATH}
                if (path === 'owner') {{
                  globalThis.shared = await fetch('{upstream.url}/pieces');
                  console.log('fetched'); setTimeout(() => {{}}, 1e6);
                  await new Promise((done) => {{ globalThis.release = done; }});
                  return new Response('released');
                }}
                try {{
                  const reader = globalThis.shared.body.getReader();
                  const {{value}} = await reader.read(); reader.releaseLock();
                  return new Response(String(value.length > 0));
                }} catch (error) {{ return new Response(error.message); }}
                finally {{ globalThis.release?.(); }}"""
        )
    )
    owner = together.begin(instance, "owner")
    while not together.said:  # the test's own time limit bounds it
        together.go_on()
    reader = together.begin(instance, "reader")
    together.until_due(reader, owner)
    assert result(reader).body == b"true"
    late = together.begin(instance, "late")
    together.until_due(late)
    assert b"over" in result(late).body


def test_a_subrequest_that_is_refused_is_told_without_a_wait(together: Together):
    ask = "(await fetch(path === 'where' ? 'http://10.1.1.1/' : 'http://a.test/', init).catch((e) => e)).message"
    init = "const init = path === 'where' ? {} : {headers: {'x-a': 'b'.repeat(1e5)}};"
    instance = together.load(handler(f"{PATH} {init} return new Response({ask});"))
    refused = together.begin(instance, "how")
    denied = together.begin(instance, "where")
    together.until_due(refused, denied)
    assert b"headers" in result(refused).body
    assert b"10.1.1.1" in result(denied).body


def test_work_after_the_answer_goes_on_beside_other_requests(together: Together, upstream: Upstream):
    instance = together.load(
        handler(
            f"""{PATH} if (path === 'left')
                  ctx.waitUntil(fetch('{upstream.url}/echo').then(() => console.log('is done')));
                return new Response(path);"""
        )
    )
    left = together.begin(instance, "left")
    assert (result(left).body, left.is_over) == (b"left", False)
    assert result(together.begin(instance, "other")).body == b"other"
    left.extend(SECONDS_MAX)
    together.until_due(left)
    assert together.said == [("left", "is done")]


def test_a_call_whose_work_is_done_with_its_answer_is_kept_by_nobody(together: Together):
    instance = together.load(handler("ctx.waitUntil(Promise.resolve()); return new Response('a');"))
    call = together.begin(instance, "a")
    assert (result(call).body, call.is_over) == (b"a", True)
    call.extend(SECONDS_MAX)
    with without_collection():
        there = count_of(OpenCall)
        del call
        assert count_of(OpenCall) == there - 1


def test_a_bundle_may_set_timers_while_it_loads_and_they_never_fire(together: Together):
    instance = together.load(
        bundled(
            """let fired = 0; setInterval(() => { fired++; }, 0); setTimeout(() => { fired++; }, 0);
               return {default: {async fetch() {
                 await new Promise((done) => setTimeout(done, 20)); return Response.json(fired);
               }}};"""
        )
    )
    call = together.begin(instance, "a")
    together.until_due(call)
    assert json.loads(result(call).body) == 0


def test_a_request_that_clears_the_timer_of_another_keeps_its_own(together: Together):
    instance = together.load(
        handler(
            f"""{PATH}
                if (path === 'other') {{
                  globalThis.theirs = setTimeout(() => {{}}, 1e6);
                  await new Promise((done) => {{ globalThis.release = done; }});
                  return new Response('released');
                }}
                const slept = new Promise((done) => setTimeout(done, 10));
                clearTimeout(globalThis.theirs); await slept; globalThis.release();
                return new Response('slept');"""
        )
    )
    other, own = together.begin(instance, "other"), together.begin(instance, "own")
    together.until_due(own, other)
    assert (result(own).body, result(other).body) == (b"slept", b"released")


SLEEP = "await new Promise((done) => setTimeout(done, 1));"


@pytest.mark.parametrize(
    "then",
    [
        SLEEP,
        "await fetch(url);",
        "for (let i = 0; i < 20; i++) await null;" + SLEEP,  # the first is answered by then
        "for (let i = 0; i < 20; i++) await null; await fetch(url);",
        SLEEP * 5 + "await fetch(url);" + SLEEP * 5,
    ],
)
@pytest.mark.parametrize("first", ["", SLEEP, "for (let i = 0; i < 30; i++) await null;"])
def test_a_request_goes_on_with_what_it_does_after_the_promise_of_another(
    first: str, then: str, together: Together, upstream: Upstream
):
    instance = together.load(
        handler(
            f"""{PATH} const url = '{upstream.url}/echo';
                globalThis.settings ??= fetch(url).then((answer) => answer.json());
                await globalThis.settings;
                if (path === 'first') {{ {first} return new Response('first'); }}
                {then} return new Response(path);"""
        )
    )
    calls = [together.begin(instance, path) for path in ("first", "second", "third")]
    together.until_due(*calls)
    assert [result(call).body for call in calls] == [b"first", b"second", b"third"]
    for call in calls:
        if not call.is_over:
            call.extend(SECONDS_MAX)
    together.until_due(*calls)
    assert all(call.is_over for call in calls)


def test_what_a_request_leaves_does_not_outlast_those_beside_it(together: Together):
    instance = together.load(
        handler(
            f"""{PATH} setTimeout(() => {{}}, 1e6);
                if (path === 'other') await new Promise((done) => setTimeout(done, 5));
                else await null;
                return new Response(path);"""
        )
    )
    other, one = together.begin(instance, "other"), together.begin(instance, "one")
    assert (result(one).body, one.is_over) == (b"one", False)
    one.extend(SECONDS_MAX)
    together.until_due(other, one)
    assert other.is_over
    alone = together.begin(instance, "alone")
    assert (result(alone).body, alone.is_over) == (b"alone", True)
