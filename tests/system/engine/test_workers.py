"""Workers as processes: what reaches a client, and who is hurt by whom."""

import json
import os
import signal
import socket
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import anyio.to_thread
import pytest

from skerry.engine.component import ENGINE_CONTRACT
from skerry.engine.function_logs import FunctionLogs
from skerry.engine.javascript_guest import INSTANCE_BYTES
from skerry.engine.manifest import remove_manifest
from skerry.engine.workers import run_workers
from skerry.kit import processes
from skerry.kit.errors import StartError
from tests.system.engine.conftest import SECONDS_MAX

if TYPE_CHECKING:
    from tests.system.engine.conftest import Answer, Node

pytestmark = pytest.mark.system

HELLO = "return new Response('hello');"


async def ask(node: "Node", revision: str, *, method: str = "GET", body: bytes = b"") -> "Answer":
    return await anyio.to_thread.run_sync(lambda: node.request(revision, method=method, body=body))


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        ("throw new Error('oh no');", 500, "exception"),
        ("await Promise.reject(new Error('oh no'));", 500, "exception"),
        ("for (;;) {}", 504, "timeout"),
        ("await new Promise((done) => setTimeout(done, 1e6));", 504, "timeout"),
        (
            "return new Response('', {headers: Array.from({length: 101}, (_, n) => [`x-${n}`, 'y'])});",
            500,
            "bad-response",
        ),
        ("return new Response('', {headers: {x: 'y'.repeat(61440)}});", 500, "bad-response"),
        ("const all = []; for (;;) all.push(new Uint8Array(1e6).fill(1));", 500, "memory"),
    ],
)
async def test_a_failure_is_answered_with_its_kind_and_the_next_request_with_a_fresh_instance(
    node: "Node", body: str, status: int, kind: str
):
    good = "return new Response(String(globalThis.n = (globalThis.n ?? 0) + 1));"
    choose = f"if (request.method === 'GET') {{ {good} }} {body}"
    node.deploy("bad-1", choose, timeout_seconds=0.5 if kind == "timeout" else SECONDS_MAX)

    async def is_answered_by_a_fresh_one() -> bool:
        answer = await ask(node, "bad-1")
        assert answer.body == b"1" or (kind, answer.status) == ("timeout", 504)  # the worker stood still for so long
        return answer.status == 200

    async def failures() -> int:
        (statistics,) = await node.workers.statistics()
        return statistics.get(f"failures_{kind}_total", 0)

    await node.until(is_answered_by_a_fresh_one)
    before = await failures()
    failed = await ask(node, "bad-1", method="POST")
    assert await failures() == before + 1
    assert (failed.status, failed.header("x-skerry-error")) == (status, kind)
    told = json.loads(failed.body)
    assert told["error"] == kind
    assert told["message"]
    await node.until(is_answered_by_a_fresh_one)


async def test_a_looping_function_hurts_no_other(node: "Node"):
    node.deploy("loop-1", "for (;;) {}")
    node.deploy("hello-1", HELLO)
    with ThreadPoolExecutor(4) as threads:
        loops = [threads.submit(node.request, "loop-1") for _ in range(4)]

        async def all_loop() -> bool:
            (statistics,) = await node.workers.statistics()
            return statistics["requests_running"] == 4

        await node.until(all_loop)
        assert {(await ask(node, "hello-1")).body for _ in range(10)} == {b"hello"}
        assert not any(loop.done() for loop in loops), "they waited for the loops"
        (pid,) = node.workers.pids
        assert pid is not None
        os.kill(pid, signal.SIGKILL)  # else they would loop until their limit


async def test_a_hundred_requests_wait_on_timers_at_once_beside_short_and_looping_ones(node: "Node"):
    node.deploy("hello-1", HELLO)
    node.deploy("loop-1", "for (const end = Date.now() + 500; Date.now() < end;); return new Response('looped');")
    for number in range(10):
        wait = "while (await env.KV.get('go') === null) await new Promise((done) => setTimeout(done, 500));"
        node.deploy(f"wait{number}-1", f"{wait} return new Response('waited');", shared_kv="all")
    node.deploy("go-1", "await env.KV.put('go', ''); return new Response('gone');", shared_kv="all")
    with ThreadPoolExecutor(101) as threads:
        waiting: list[Future[Answer]] = []

        async def have_all_begun() -> bool:
            (statistics,) = await node.workers.statistics()
            return statistics["requests_running"] == len(waiting)

        for count in (10, 90):  # who comes while the first instance of a function is made has one made, too
            waiting += [threads.submit(node.request, f"wait{number % 10}-1") for number in range(count)]
            await node.until(have_all_begun)
        assert not any(each.done() for each in waiting)
        looping = threads.submit(node.request, "loop-1")
        assert {(await ask(node, "hello-1")).body for _ in range(20)} == {b"hello"}
        assert (await anyio.to_thread.run_sync(looping.result)).body == b"looped"
        assert (await ask(node, "go-1")).body == b"gone"
        assert {each.result().body for each in waiting} == {b"waited"}
    (statistics,) = await node.workers.statistics()
    assert statistics["instances"] < 50, "requests that wait have an instance each"
    assert statistics["threads"] < 50, "requests that wait hold a thread each"


async def test_a_function_that_needs_more_than_a_workers_memory_is_ended_and_no_other_refused(
    node: "Node", tmp_path: Path
):
    settings = replace(node.settings, run_dir=tmp_path / "small", memory_bytes_max=128 << 20)
    async with run_workers(settings) as workers:
        small = type(node)(settings, workers)
        small.deploy("hello-1", HELLO)
        hold = "const all = new Uint8Array(150e6).fill(1); await new Promise((done) => setTimeout(done, 1e6));"
        small.deploy("hold-1", f"{hold} return new Response(String(all.length));", memory_mib=256)
        with ThreadPoolExecutor(1) as threads:
            holding = threads.submit(small.request, "hold-1")
            assert (await ask(small, "hello-1")).body == b"hello"
            ended = await anyio.to_thread.run_sync(holding.result)
        assert (ended.status, ended.header("x-skerry-error")) == (503, "overloaded")
        assert "over its share" in json.loads(ended.body)["message"]
        (statistics,) = await workers.statistics()
        assert (statistics["instances"], statistics["instances_memory_bytes"]) == (1, INSTANCE_BYTES)


async def test_what_is_left_to_wait_until_does_not_hold_the_answer_back(node: "Node"):
    left = "ctx.waitUntil(new Promise((done) => setTimeout(done, 1000)).then(() => console.log('settled')));"
    node.deploy("left-1", f"{left} return new Response('left');")
    node.deploy("hello-1", HELLO)
    assert (await ask(node, "left-1")).body == b"left"
    assert (await ask(node, "hello-1")).body == b"hello"

    async def has_settled() -> bool:
        (statistics,) = await node.workers.statistics()
        return statistics["instances"] == statistics["instances_idle"] == 2

    await node.until(has_settled)
    logs = FunctionLogs(node.settings.logs_dir)
    assert [json.loads(line)["message"] async for line in logs.read("left")] == ["settled"]
    logs.close()


async def test_work_that_is_left_and_never_ends_is_ended_and_told(node: "Node"):
    forever = "setTimeout(() => { for (;;); }, 0)"
    left = f"ctx.waitUntil(new Promise(() => {forever}));"
    node.deploy("stuck-1", f"{left} return new Response('left');", timeout_seconds=0.2)
    late = 0  # as often as the worker stood still for as long as the limit is
    while (answer := await ask(node, "stuck-1")).status == 504:
        late += 1
    assert answer.body == b"left"

    async def is_told() -> bool:
        (statistics,) = await node.workers.statistics()
        return statistics.get("failures_timeout_total") == late + 1 and statistics["instances"] == 0

    await node.until(is_told)
    logs = FunctionLogs(node.settings.logs_dir)
    told = [json.loads(line)["message"] async for line in logs.read("stuck")]
    logs.close()
    assert len(told) == late + 1
    assert told[-1].startswith("in ctx.waitUntil: the function did not answer within its limit of 0.2 s")


async def test_an_unknown_revision_is_404_and_a_removed_one_becomes_it(node: "Node"):
    assert (await ask(node, "none-1")).header("x-skerry-error") == "unknown-revision"
    node.deploy("hello-1", HELLO)
    assert (await ask(node, "hello-1")).status == 200
    remove_manifest(node.settings.functions_dir, "hello-1")

    async def is_unknown() -> bool:
        answer = await ask(node, "hello-1")
        return (answer.status, answer.header("x-skerry-error")) == (404, "unknown-revision")

    await node.until(is_unknown)


async def test_a_revision_whose_code_is_missing_or_throws_says_so(node: "Node"):
    node.deploy("gone-1", HELLO)
    os.unlink(node.settings.run_dir / "gone-1.wasm")  # noqa: PTH108 - a test may block
    assert (await ask(node, "gone-1")).header("x-skerry-error") == "load"


async def test_a_body_over_its_functions_limit_is_413_and_one_at_the_limit_passes(node: "Node"):
    body = "return new Response(String((await request.arrayBuffer()).byteLength));"
    node.deploy("size-1", body)
    node.deploy("small-1", body, request_body_bytes_max=10)
    for revision, limit in (("size-1", 10 << 20), ("small-1", 10)):
        assert (await ask(node, revision, method="POST", body=b"x" * limit)).body == str(limit).encode()
        refused = await ask(node, revision, method="POST", body=b"x" * (limit + 1))
        assert (refused.status, refused.header("x-skerry-error")) == (413, "body-too-large")
        assert f"{limit} bytes (runtime.limits.requestBody)" in json.loads(refused.body)["message"]


async def test_a_refused_body_counts_among_its_functions_answers_before_that_is_loaded(node: "Node"):
    node.deploy("small-1", "return new Response('ok');", request_body_bytes_max=10)
    assert (await ask(node, "small-1", method="POST", body=b"x" * 11)).status == 413
    _, told = await node.workers.by_function(0)
    counts = told["small"]["counts"]
    assert (counts["requests"], counts["limits"]) == ({"small-1": [0, 0, 0, 1, 0]}, {"requestBody": 1})


async def test_the_limits_of_a_function_are_its_own(node: "Node"):
    node.deploy("loop-1", "for (;;) {}", cpu_seconds_max=0.1)
    node.deploy("micro-1", "const again = () => Promise.resolve().then(again); await again();", cpu_seconds_max=0.1)
    wait = "await new Promise((done) => setTimeout(done, 300)); return new Response('waited');"
    node.deploy("wait-1", wait, cpu_seconds_max=0.1)
    node.deploy("long-1", "return new Response('x'.repeat(100));", response_body_bytes_max=99)
    node.deploy("timers-1", "for (let n = 0; n < 1e6; n++) setTimeout(() => {}, 1e6); return new Response('set');")
    node.deploy("calls-1", "return new Response(String(globalThis.n = (globalThis.n ?? 0) + 1));", isolation="request")
    expected = {
        "loop-1": (500, "cpu-time", "0.1 s (runtime.limits.cpuTime)"),
        "micro-1": (500, "cpu-time", "0.1 s (runtime.limits.cpuTime)"),
        "long-1": (500, "response-too-large", "99 bytes (runtime.limits.responseBody)"),
        "timers-1": (500, "timers", "over 10000 timers"),
    }
    for revision, (status, kind, message) in expected.items():
        answer = await ask(node, revision)
        assert (answer.status, answer.header("x-skerry-error")) == (status, kind)
        assert message in json.loads(answer.body)["message"]
    assert (await ask(node, "wait-1")).body == b"waited"
    assert [(await ask(node, "calls-1")).body for _ in range(3)] == [b"1"] * 3


async def test_over_its_concurrency_a_function_is_429_and_says_when_to_try_again(node: "Node"):
    held = """while (await env.KV.get("go") === null) await new Promise((done) => setTimeout(done, 20));
        return new Response("ok");"""
    node.deploy("busy-1", held, concurrency_max=1, shared_kv="both")
    node.deploy("hello-1", f"await env.KV.put('go', ''); {HELLO}", shared_kv="both")
    with ThreadPoolExecutor(6) as threads:
        asked = [threads.submit(node.request, "busy-1") for _ in range(6)]

        async def three_are_refused() -> bool:
            return sum(each.done() for each in asked) == 3

        await node.until(three_are_refused)
        assert (await ask(node, "hello-1")).body == b"hello"
        answers = [await anyio.to_thread.run_sync(each.result) for each in asked]
    assert sorted(answer.status for answer in answers) == [200, 200, 200, 429, 429, 429]
    refused = next(answer for answer in answers if answer.status == 429)
    assert (refused.header("x-skerry-error"), refused.header("retry-after")) == ("concurrency", "1")
    assert "1 in one worker (runtime.limits.concurrency)" in json.loads(refused.body)["message"]


async def test_a_function_that_computes_long_before_it_fetches_is_answered_though_nobody_else_asks(node: "Node"):
    burn = "for (const end = Date.now() + 10; Date.now() < end;);"  # so that it is called beside the event loop
    node.deploy("busy-1", f"{burn} return new Response(await fetch('http://127.0.0.1:9/').catch((e) => e.message));")
    for _ in range(3):
        assert b"127.0.0.1" in (await ask(node, "busy-1")).body


async def test_after_a_request_that_ended_its_instance_none_share_one_for_a_while(node: "Node"):
    bad = "if (request.method === 'DELETE') for (;;);"
    wait = "while (await env.KV.get('go') === null) await new Promise((done) => setTimeout(done, 200));"
    node.deploy("mixed-1", f"{bad} {wait} return new Response('waited');", cpu_seconds_max=0.2)
    assert (await ask(node, "mixed-1", method="DELETE")).header("x-skerry-error") == "cpu-time"

    async def running() -> dict[str, int]:
        _, told = await node.workers.by_function(0)
        present: dict[str, int] = told["mixed"]["present"]
        return present

    async def three_wait() -> bool:
        return (await running())["running"] == 3

    with ThreadPoolExecutor(3) as threads:
        waiting = [threads.submit(node.request, "mixed-1") for _ in range(3)]
        await node.until(three_wait)
        assert (await running())["instances"] == 3
        node.deploy("mixed-2", "await env.KV.put('go', ''); return new Response('gone');")
        assert (await ask(node, "mixed-2")).body == b"gone"
        assert {each.result().body for each in waiting} == {b"waited"}


async def test_binary_bodies_cookies_and_head_requests_pass_the_wire(node: "Node"):
    node.deploy(
        "echo-1",
        """return new Response(await request.arrayBuffer(),
             {status: 202, headers: [["set-cookie", "a=1"], ["set-cookie", "b=2"], ["x-skerry-error", "none"]]});""",
    )
    body = bytes(range(256)) * 1000
    answer = await ask(node, "echo-1", method="POST", body=body)
    assert (answer.status, answer.body) == (202, body)
    assert [value for name, value in answer.headers if name == "set-cookie"] == ["a=1", "b=2"]
    assert answer.header("x-skerry-error") is None
    head = await ask(node, "echo-1", method="HEAD")
    assert (head.header("content-length"), head.body) == ("0", b"")


async def test_a_hundred_functions_live_in_one_worker(node: "Node"):
    for number in range(100):
        node.deploy(f"many-{number}", f"return new Response('I am {number}');")
    for _ in range(2):
        for number in range(100):
            assert (await ask(node, f"many-{number}")).body == f"I am {number}".encode()
    (statistics,) = await node.workers.statistics()
    assert statistics["cold_starts_total"] == 100
    assert statistics["instances_idle"] == 100


async def test_a_killed_worker_is_back_and_answers_what_was_sent_meanwhile(node: "Node"):
    node.deploy("hello-1", HELLO)
    assert (await ask(node, "hello-1")).body == b"hello"
    (pid,) = node.workers.pids
    assert pid is not None
    os.kill(pid, signal.SIGKILL)

    async def is_noticed() -> bool:
        return node.workers.pids != (pid,)

    await node.until(is_noticed)
    assert (await ask(node, "hello-1")).body == b"hello"  # waited in the backlog
    assert node.workers.pids != (pid,)


async def test_a_running_request_finishes_when_its_worker_is_told_to_stop(node: "Node"):
    node.deploy("slow-1", "await new Promise((done) => setTimeout(done, 3000)); return new Response('done');")
    with ThreadPoolExecutor(1) as threads:
        slow = threads.submit(node.request, "slow-1")

        async def is_running() -> bool:
            return (await node.workers.statistics())[0]["instances"] == 1

        await node.until(is_running)
        (pid,) = node.workers.pids
        assert pid is not None
        os.kill(pid, signal.SIGTERM)
        answer = await anyio.to_thread.run_sync(slow.result)
    assert answer.body == b"done"
    assert answer.header("connection") is None or answer.header("connection") == "close"


async def test_an_idle_connection_does_not_hold_up_a_worker_that_stops(node: "Node"):
    with socket.socket(socket.AF_UNIX) as idle:
        idle.connect(str(node.workers.socket_paths[0]))
        await ask(node, "none-1")
        (pid,) = node.workers.pids
        assert pid is not None
        os.kill(pid, signal.SIGTERM)
        idle.settimeout(45)  # less than the drain time
        assert await anyio.to_thread.run_sync(lambda: idle.recv(1)) == b""


async def test_what_a_function_says_and_how_it_failed_is_in_its_log(node: "Node"):
    node.deploy("talk-1", "console.warn('careful', {a: 1}); throw new TypeError('oh no');")
    await anyio.to_thread.run_sync(lambda: node.request("talk-1", headers={"x-request-id": "id-1"}))
    logs = FunctionLogs(node.settings.logs_dir)
    lines = [json.loads(line) async for line in logs.read("talk")]
    logs.close()
    assert [(line["level"], line["revision"]) for line in lines] == [("warn", "talk-1"), ("error", "talk-1")]
    assert {line["requestId"] for line in lines} == {"id-1"}
    assert lines[0]["message"] == "careful { a: 1 }"
    assert lines[1]["message"].startswith("TypeError: oh no\nfetch@function.js:4:")


async def test_metrics_are_what_prometheus_reads(node: "Node"):
    node.deploy("hello-1", HELLO)
    await ask(node, "hello-1")

    def scrape() -> str:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(node.workers.socket_paths[0]))
            sock.sendall(b"GET /__skerry/metrics HTTP/1.1\r\nhost: engine\r\nconnection: close\r\n\r\n")
            with sock.makefile("rb") as file:
                return file.read().decode()

    text = await anyio.to_thread.run_sync(scrape)
    assert "\nskerry_engine_requests_total 1\n" in text
    assert 'skerry_engine_request_duration_seconds_bucket{le="+Inf"} 1\n' in text
    assert "\nskerry_engine_instances_idle 1\n" in text


async def test_what_a_function_used_is_counted_for_it_alone(node: "Node"):
    burn = "for (const end = Date.now() + 20; Date.now() < end;);"
    wait = "await new Promise((done) => setTimeout(done, 200));"
    node.deploy("busy-1", f"{burn} {wait} ctx.waitUntil(fetch('http://127.0.0.1:9').catch(() => {{}})); {HELLO}")
    node.deploy("loop-1", "for (;;) {}", cpu_seconds_max=0.1)
    node.deploy("flood-1", f"for (let n = 0; n < 20_000; n++) console.log(n); {HELLO}")
    node.deploy("small-1", HELLO, request_body_bytes_max=1, subrequests_max=0)
    for name in ("busy", "loop", "flood", "small"):
        await ask(node, f"{name}-1")
    await ask(node, "small-1", method="POST", body=b"xx")

    async def has_settled() -> bool:
        _, told = await node.workers.by_function(0)
        return bool(told["busy"]["present"]["running"] == 0)

    await node.until(has_settled)
    _, told = await node.workers.by_function(0)
    busy = told["busy"]["counts"]
    assert busy["requests"] == {"busy-1": [0, 1, 0, 0, 0]}
    assert 0 < busy["cpuSeconds"] < busy["durationSeconds"] - 0.1  # waiting is not computing
    assert (busy["subrequests"], busy["coldStarts"]) == (1, 1)
    assert told["busy"]["present"]["instances"] == 1
    assert told["loop"]["counts"]["limits"] == {"cpuTime": 1}
    assert told["loop"]["counts"]["cpuSeconds"] >= 0.1
    assert told["flood"]["counts"]["limits"]["log"] > 100  # of a thousand a second, however slow the machine
    assert told["small"]["counts"]["limits"] == {"requestBody": 1}


async def test_a_socket_is_for_its_owner_alone(node: "Node"):
    (path,) = node.workers.socket_paths
    assert os.stat(path).st_mode & 0o777 == 0o600  # noqa: PTH116 - a test may block


async def test_a_worker_that_ends_as_it_starts_fails_the_start_with_its_own_words(
    node: "Node", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(processes, "HEALTHY_SECONDS", 60.0)  # on a busy machine a start takes long
    component = tmp_path / "component.wasm"
    component.write_bytes(f"no module, but of the skerry:contract{ENGINE_CONTRACT}".encode())
    settings = replace(node.settings, run_dir=tmp_path / "run", component=component)
    with pytest.raises(
        StartError, match=r"engine-0 ended \d+ times in a row .*: the engine worker can't start: .* not a valid module"
    ):
        async with run_workers(settings):
            pass
