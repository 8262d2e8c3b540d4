"""Promises that are rejected while nobody handles them: a line of the function's log each, and nothing else changes."""

from typing import TYPE_CHECKING

import anyio
import pytest

from tests.system.engine.conftest import SECONDS_MAX

if TYPE_CHECKING:
    from tests.system.engine.conftest import Loader, Node

ERROR_LEVEL = 3


def test_a_rejection_that_nobody_handles_is_told_with_its_stack_and_the_answer_stays(load: "Loader"):
    function = load.handler(
        """const write = async () => { await null; throw new RangeError("the disk is full"); };
           write();
           return new Response("done");"""
    )
    for _ in range(3):
        assert function.call().body == b"done"
    assert len(function.said.lines) == 3
    for level, line in function.said.lines:
        first, frame = line.split("\n")
        assert (level, first) == (ERROR_LEVEL, "Uncaught (in promise) RangeError: the disk is full")
        assert frame.startswith("write@function.js:")


@pytest.mark.parametrize(
    ("rejected", "told"),
    [
        ("Promise.reject('no error')", "no error"),
        ("Promise.reject()", "undefined"),
        ("Promise.reject({code: 7})", "{ code: 7 }"),
        ("Promise.all([Promise.reject(new Error('one of all'))])", "Error: one of all"),
        ("fetch('http://192.168.0.1/')", "TypeError: "),
        ("new Promise((_, reject) => setTimeout(reject, 1, new Error('by a timer')))", "Error: by a timer"),
    ],
)
def test_whatever_is_rejected_is_told_once(load: "Loader", rejected: str, told: str):
    function = load.handler(
        f"{rejected}; await new Promise((done) => setTimeout(done, 20)); return new Response('fine');"
    )
    assert function.call().body == b"fine"
    ((level, line),) = function.said.lines
    assert level == ERROR_LEVEL
    assert line.startswith(f"Uncaught (in promise) {told}")


@pytest.mark.parametrize(
    "handled",
    [
        "try { await (async () => { throw new Error('no'); })(); } catch {}",
        "const rejected = Promise.reject(new Error('no')); rejected.catch(() => {});",
        "await Promise.allSettled([Promise.reject(1), Promise.reject(2)]);",
        "const signal = AbortSignal.abort(); await fetch('http://x.test/', {signal}).catch(() => {});",
        """const {readable, writable} = new TransformStream(); writable.abort('no');
           await readable.getReader().read().catch(() => {});""",
        "const text = new Request('http://x.test/', {method: 'POST', body: '{'}); await text.json().catch(() => {});",
        "await new Response(new ReadableStream({pull() { throw new Error('no'); }})).text().catch(() => {});",
    ],
)
def test_what_is_handled_is_not_told(load: "Loader", handled: str):
    function = load.handler(f"{handled} return new Response('fine');")
    assert [function.call().body, function.call().body] == [b"fine", b"fine"]
    assert function.said.lines == []


def test_work_that_is_rejected_before_the_answer_is_told_once(load: "Loader"):
    function = load.handler(
        """ctx.waitUntil(Promise.reject(new Error("lost")));
           await new Promise((done) => setTimeout(done, 1));
           return new Response("now");"""
    )
    function.instance.handle(b"GET\nhttp://hello.test/", b"", SECONDS_MAX)
    function.instance.settle(SECONDS_MAX)
    ((_, line),) = function.said.lines
    assert line.startswith("Uncaught (in waitUntil) Error: lost")


def test_a_rejection_while_the_bundle_loads_is_told(load: "Loader"):
    function = load.module("Promise.reject(new Error('early')); return {default: {fetch: () => new Response('fine')}};")
    ((level, line),) = function.said.lines
    assert level == ERROR_LEVEL
    assert line.startswith("Uncaught (in promise) Error: early")
    assert function.call().body == b"fine"
    assert len(function.said.lines) == 1


def test_promises_that_cannot_be_looked_at_hide_no_others(load: "Loader"):
    function = load.handler(
        """const odd = Promise.reject(1);
           Object.defineProperty(odd, "constructor", {get() { throw new Error("no"); }});
           const iterator = Object.getPrototypeOf(new Set().values());
           iterator.next = Set.prototype.values = () => { throw new Error("no"); };
           Promise.reject("second");
           return new Response("fine");"""
    )
    assert function.instance.handle(b"GET\nhttp://hello.test/", b"", SECONDS_MAX).body == b"fine"
    told = sorted(line for _, line in function.said.lines)
    assert told == ["Uncaught (in promise) (a promise that cannot be looked at)", "Uncaught (in promise) second"]


def test_thousands_of_rejections_leave_no_memory_behind(load: "Loader"):
    function = load.handler(
        """for (let i = 0; i < 100; i++) Promise.reject(new Uint8Array(500_000));
           return new Response("fine");"""
    )
    for _ in range(5):  # 250 MB; the instance may have 128 MiB
        assert function.call().body == b"fine"


async def test_a_reason_that_computes_without_end_costs_no_other_request_anything(node: "Node"):
    loops = "Promise.reject({get a() { for (;;); }}); return new Response('fine');"
    node.deploy("loops-1", loops, cpu_seconds_max=0.1)
    for _ in range(3):
        answer = await anyio.to_thread.run_sync(node.request, "loops-1")
        assert (answer.status, answer.body) == (200, b"fine")
