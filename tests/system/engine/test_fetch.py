"""`fetch` in functions, against a real HTTP server on loopback, which the node's policy allows here."""

import gzip
import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from skerry.engine import fetching, thread_fetching
from skerry.engine.errors import CallError, FailureKind
from skerry.engine.fetching import CONCURRENT_MAX, SUBREQUESTS_MAX
from skerry.engine.upstream.limits import FetchLimits
from tests.system.engine.conftest import SECONDS_MAX

if TYPE_CHECKING:
    from tests.system.engine.conftest import Loader

PIECES = [b"first", b"second" * 20_000, b"third"]


class Upstream(http.server.ThreadingHTTPServer):
    """Answers by path; requests to /hold wait in `held` until `release` is set."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.connections = 0
        self.held = threading.Semaphore(0)
        self.release = threading.Event()
        self.gone = threading.Event()

    @classmethod
    @contextmanager
    def running(cls) -> Iterator["Upstream"]:
        with cls() as server:
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
            thread.start()
            yield server
            server.release.set()
            server.shutdown()
            thread.join()

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections += 1
        super().process_request(request, client_address)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Upstream

    def log_message(self, *_: object) -> None:
        pass

    def reply(self, body: bytes = b"", status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        path, _, query = self.path.partition("?")
        match path:
            case "/echo":
                seen = {"method": self.command, "path": self.path, "headers": dict(self.headers), "body": body.decode()}
                self.reply(json.dumps(seen).encode(), content_type="application/json", x_two="a, b")
            case "/redirect":
                status, _, location = query.partition("&")
                self.reply(b"moved", int(status), location=location)
            case "/loop":
                self.reply(status=302, location="/loop")
            case "/gzip":
                self.reply(gzip.compress(b"0" * int(query)), content_encoding="gzip", content_type="text/plain")
            case "/pieces":
                self.pieces()
            case "/status":
                self.reply(b"" if query in {"204", "304"} else b"body", int(query))
            case "/hold":
                self.server.held.release()
                self.server.release.wait()
                self.reply(b"held")
            case "/endless":
                self.endless()
            case _:
                self.close_connection = True  # without an answer

    do_GET = do_POST = do_PUT = do_HEAD = answer  # noqa: N815 - names that http.server looks for

    def pieces(self) -> None:
        self.send_response(200)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for piece in PIECES:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")

    def endless(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.close_connection = True
        try:
            while True:
                self.wfile.write(b"x" * 65536)
        except OSError:
            self.server.gone.set()


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream.running() as server:
        yield server


def test_a_response_that_is_handed_on_is_the_upstreams(load: "Loader", upstream: Upstream):
    answer = load.handler("return fetch(request.url);").call("GET", f"{upstream.url}/status?404")
    headers = [(name, value) for name, value in answer.headers if name not in {"server", "date"}]
    assert (answer.status, headers, answer.body) == (404, [("content-length", "4")], b"body")


def test_a_response_tells_its_reason_and_a_copy_tells_the_same(load: "Loader", upstream: Upstream):
    function = load.handler(
        """const r = await fetch(request.url);
           const copy = r.clone();
           const length = copy.headers.get('content-length');
           return Response.json([r.statusText, copy.statusText, length, await copy.text()]);"""
    )
    assert json.loads(function.call("GET", f"{upstream.url}/status?404").body) == [
        "Not Found",
        "Not Found",
        "4",
        "body",
    ]


def test_a_url_that_was_refused_is_refused_again(load: "Loader"):
    function = load.handler(
        """const ask = () => fetch('http://user:word@example.test/').catch((error) => error.message);
           return Response.json([await ask(), await ask()]);"""
    )
    first, second = json.loads(function.call().body)
    assert "credentials" in first
    assert first == second


def test_a_fetch_carries_method_headers_and_body_both_ways(load: "Loader", upstream: Upstream):
    function = load.handler(
        """const r = await fetch(request.url, {method: 'POST', body: await request.text(), headers: {'X-Given': 'é'}});
           const seen = await r.json();
           return Response.json({seen, status: r.status, ok: r.ok, url: r.url, type: r.headers.get('content-type'),
                                 two: r.headers.get('x-two'), redirected: r.redirected});"""
    )
    answer = json.loads(function.call("POST", f"{upstream.url}/echo?a=1#b", body="hé".encode()).body)
    seen = answer.pop("seen")
    assert answer == {
        "status": 200, "ok": True, "url": f"{upstream.url}/echo?a=1",
        "type": "application/json", "two": "a, b", "redirected": False,
    }  # fmt: skip
    assert (seen["method"], seen["path"], seen["body"]) == ("POST", "/echo?a=1", "hé")
    headers = {name.lower(): value for name, value in seen["headers"].items()}
    assert headers["host"] == upstream.url.removeprefix("http://")
    assert headers["x-given"].encode("latin-1") == "é".encode("latin-1")
    assert headers["content-type"] == "text/plain;charset=UTF-8"


def test_a_fetch_continues_the_requests_trace_unless_the_function_names_one(load: "Loader", upstream: Upstream):
    function = load.handler(
        f"""const mine = {{headers: {{TraceParent: request.headers.get('x-mine')}}}};
            const one = await (await fetch('{upstream.url}/echo')).json();
            const two = await (await fetch('{upstream.url}/echo', mine)).json();
            return Response.json([one.headers.traceparent, two.headers.traceparent]);"""
    )
    trace, span = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    mine = f"00-{'1' * 32}-{'2' * 16}-00"
    function.instance.invocation.begin([b"traceparent", f"00-{trace}-{span}-01".encode()])
    continued, own = json.loads(function.call(headers=[("x-mine", mine)]).body)
    assert continued.startswith(f"00-{trace}-")
    assert continued.endswith("-01")
    assert span not in continued
    assert own == mine


def test_an_incoming_request_is_passed_on_as_it_is(load: "Loader", upstream: Upstream):
    function = load.handler(f"return fetch(new Request('{upstream.url}/echo', request));")
    answer = function.call("PUT", headers=[("x-mine", "1"), ("host", "elsewhere"), ("te", "gzip")], body=b"data")
    seen = json.loads(answer.body)
    assert (seen["method"], seen["body"]) == ("PUT", "data")
    names = {name.lower(): value for name, value in seen["headers"].items()}
    assert names["x-mine"] == "1"
    assert names["host"] == upstream.url.removeprefix("http://")
    assert "te" not in names


def test_many_fetches_run_at_once_on_one_instance(load: "Loader", upstream: Upstream):
    function = load.handler(
        f"""const all = Array.from({{length: 20}}, () => fetch('{upstream.url}/hold').then((r) => r.text()));
            return Response.json(await Promise.all(all));"""
    )
    answers: list[bytes] = []
    caller = threading.Thread(target=lambda: answers.append(function.call().body))
    caller.start()
    for _ in range(20):
        assert upstream.held.acquire(
            timeout=SECONDS_MAX
        )  # all of them wait in the server, before the first is answered
    upstream.release.set()
    caller.join()
    assert json.loads(answers[0]) == ["held"] * 20


@pytest.fixture
def near(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have any upstream that answers be a near one, and the next one be waited for on the spot."""
    monkeypatch.setattr(thread_fetching, "PATIENCE_SECONDS", 60.0)


@pytest.mark.usefixtures("near")
def test_fetches_from_a_near_upstream_run_at_once_too(load: "Loader", upstream: Upstream):
    function = load.handler(
        f"""await fetch('{upstream.url}/echo');
            const all = Array.from({{length: 5}}, async () => (await fetch('{upstream.url}/hold')).text());
            return Response.json(await Promise.all(all));"""
    )
    answers: list[bytes] = []
    caller = threading.Thread(target=lambda: answers.append(function.call().body))
    caller.start()
    for _ in range(5):
        assert upstream.held.acquire(
            timeout=SECONDS_MAX
        )  # all of them wait in the server, before the first is answered
    upstream.release.set()
    caller.join()
    assert json.loads(answers[0]) == ["held"] * 5


@pytest.mark.usefixtures("near")
def test_an_answer_does_not_wait_for_a_near_upstream(load: "Loader", upstream: Upstream):
    function = load.handler(
        f"""await fetch('{upstream.url}/echo');
            ctx.waitUntil(fetch('{upstream.url}/hold').then(async (r) => console.log(await r.text())));
            return new Response('at once');"""
    )
    assert function.call().body == b"at once"  # nothing releases what is held by then
    assert not function.said.lines
    upstream.release.set()
    function.instance.settle(SECONDS_MAX)
    assert function.said.lines == [(1, "held")]


def test_connections_are_kept_for_the_next_request(load: "Loader", upstream: Upstream):
    function = load.handler(f"return fetch('{upstream.url}/echo');")
    for _ in range(10):
        assert function.call().status == 200
    assert upstream.connections == 1


def test_a_body_streams_in_pieces_and_is_whole(load: "Loader", upstream: Upstream):
    function = load.handler(
        f"""const r = await fetch('{upstream.url}/pieces');
            let pieces = 0; const parts = [];
            for await (const piece of r.body) {{ pieces++; parts.push(piece); }}
            return new Response(new Blob(parts), {{headers: {{'x-pieces': String(pieces)}}}});"""
    )
    answer = function.call()
    assert answer.body == b"".join(PIECES)
    assert int(answer.header("x-pieces") or 0) >= 2


def test_timers_and_fetches_wait_side_by_side(load: "Loader", upstream: Upstream):
    function = load.handler(
        f"""const order = [];
            const held = fetch('{upstream.url}/hold').then((r) => r.text()).then((text) => order.push(text));
            await new Promise((done) => setTimeout(done, 20)); order.push('timer');
            await fetch('{upstream.url}/echo'); order.push('echo');
            console.log('now');
            await held;
            return Response.json(order);"""
    )
    function.said.on_line = upstream.release.set
    assert json.loads(function.call().body) == ["timer", "echo", "held"]


@pytest.mark.parametrize(
    ("status", "method", "expected"),
    [(301, "POST", "GET"), (302, "POST", "GET"), (303, "PUT", "GET"), (307, "POST", "POST"), (308, "PUT", "PUT")],
)
def test_redirects_are_followed_as_the_standard_has_it(
    load: "Loader", upstream: Upstream, status: int, method: str, expected: str
):
    function = load.handler(
        f"""const r = await fetch('{upstream.url}/redirect?{status}&/echo', {{method: '{method}', body: 'b'}});
            return Response.json({{seen: await r.json(), url: r.url, redirected: r.redirected}});"""
    )
    answer = json.loads(function.call().body)
    assert (answer["url"], answer["redirected"]) == (f"{upstream.url}/echo", True)
    assert (answer["seen"]["method"], answer["seen"]["body"]) == (expected, "" if expected == "GET" else "b")


def test_a_redirect_can_be_refused_or_looked_at_and_ends_after_twenty(load: "Loader", upstream: Upstream):
    function = load.handler(
        f"""const to = (n) => '{upstream.url}/redirect?302&' + n;
            const seen = await fetch(to('/echo'), {{redirect: 'manual'}});
            const refused = await fetch(to('/echo'), {{redirect: 'error'}}).catch((e) => e.name);
            const loop = await fetch('{upstream.url}/loop').catch((e) => e.message);
            return Response.json([seen.status, seen.headers.get('location'), refused, loop]);"""
    )
    status, location, refused, loop = json.loads(function.call().body)
    assert (status, location, refused) == (302, "/echo", "TypeError")
    assert loop == "fetch: over 20 redirects"


def test_a_secret_does_not_follow_a_redirect_to_another_host(load: "Loader", upstream: Upstream):
    other = upstream.url.replace("127.0.0.1", "localhost")
    load.fetcher = load.fetcher_that_may_reach("127.0.0.1", "localhost")
    function = load.handler(
        f"""return fetch('{upstream.url}/redirect?307&{other}/echo',
                         {{headers: {{authorization: 'secret', 'x-a': 'b'}}}});"""
    )
    headers = {name.lower() for name in json.loads(function.call().body)["headers"]}
    assert "x-a" in headers
    assert "authorization" not in headers


def test_a_compressed_body_is_unpacked_in_bounded_pieces(load: "Loader", upstream: Upstream):
    function = load.handler(
        f"""const r = await fetch('{upstream.url}/gzip?20000000');  // 20 MB in 20 kB
            let length = 0, longest = 0;
            for await (const piece of r.body) {{ length += piece.length; longest = Math.max(longest, piece.length); }}
            const [encoding, type] = ['content-encoding', 'content-type'].map((name) => r.headers.get(name));
            return Response.json([length, longest, encoding, type]);"""
    )
    length, longest, encoding, content_type = json.loads(function.call().body)
    assert (length, encoding, content_type) == (20_000_000, None, "text/plain")
    assert longest <= 65_536


@pytest.mark.parametrize("status", [204, 304])
def test_a_response_without_a_body_has_none(load: "Loader", upstream: Upstream, status: int):
    function = load.handler(
        f"const r = await fetch('{upstream.url}/status?{status}'); return new Response(`${{r.body}}`);"
    )
    assert function.call().body == b"null"


def test_what_cannot_be_fetched_is_a_type_error_and_hurts_nothing(load: "Loader", upstream: Upstream):
    function = load.handler(
        f"""const tried = ['{upstream.url}/nothing', 'http://127.0.0.1:1/', 'http://nowhere.invalid/', 'ftp://a.test/',
                           'not a url', 'http://user:word@a.test/'];
            const told = [];
            for (const url of tried) told.push(await fetch(url).catch((e) => `${{e.name}}: ${{e.message}}`));
            return Response.json(told);"""
    )
    told = json.loads(function.call().body)
    assert all(line.startswith("TypeError: ") for line in told), told
    assert "can't be resolved" in told[2]
    assert "only http: and https:" in told[3]
    assert "credentials" in told[5]
    assert function.call().status == 200


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "localhost", "[::1]", "0.0.0.0", "2130706433", "0177.0.0.1", "0x7f.1", "169.254.169.254",  # noqa: S104
        "10.0.0.1", "192.168.1.1", "172.16.0.1", "100.64.0.1", "[::ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]", "[fd00::1]", "[fe80::1]",
        "224.0.0.1", "192.0.0.8",
    ],
)  # fmt: skip
def test_addresses_that_are_not_public_are_refused_however_they_are_written(
    load: "Loader", upstream: Upstream, host: str
):
    load.fetcher = load.fetcher_that_may_reach()
    port = upstream.server_port
    function = load.handler(
        f"return new Response(await fetch('http://{host}:{port}/echo').catch((e) => `${{e.name}} ${{e.message}}`));"
    )
    assert b"TypeError fetch: " in (told := function.call().body), told
    assert b"is not a public address" in told
    assert upstream.connections == 0


def test_a_redirect_leads_to_nothing_that_could_not_be_fetched(load: "Loader", upstream: Upstream):
    function = load.handler(
        f"""return new Response(await fetch('{upstream.url}/redirect?302&http://[::1]:{upstream.server_port}/echo')
                                  .catch((e) => e.message));"""
    )
    assert b"is not a public address" in function.call().body


def test_a_function_without_the_capability_is_told_so(load: "Loader", upstream: Upstream):
    load.fetcher = None
    function = load.handler(f"return new Response(await fetch('{upstream.url}/echo').catch((e) => `${{e}}`));")
    assert function.call().body == b"TypeError: fetch: the function was not granted the capability fetchAPI"


def test_code_that_loads_fetches_nothing(load: "Loader", upstream: Upstream):
    function = load.module(
        f"""const early = fetch('{upstream.url}/echo').catch((e) => e.message);
            const race = () => Promise.race([early, 'waits']);
            return {{default: {{async fetch() {{ return new Response(`${{await race()}}`); }}}}}};"""
    )
    function.call()
    assert upstream.connections == 0


def test_a_signal_ends_a_fetch_and_its_connection(load: "Loader", upstream: Upstream):
    function = load.handler(
        f"""const stop = new AbortController();
            setTimeout(() => stop.abort(), 20);
            return new Response(await fetch('{upstream.url}/hold', {{signal: stop.signal}}).catch((e) => e.name));"""
    )
    assert function.call().body == b"AbortError"


def test_what_a_request_left_behind_is_ended_with_it(load: "Loader", upstream: Upstream):
    function = load.handler(f"await fetch('{upstream.url}/endless'); return new Response('enough');")
    assert function.call().body == b"enough"
    assert upstream.gone.wait(SECONDS_MAX), "the connection is still open"
    assert function.call().body == b"enough"


def test_the_time_limit_counts_while_a_fetch_waits(load: "Loader", upstream: Upstream):
    function = load.handler(f"return fetch('{upstream.url}/hold');")
    with pytest.raises(CallError) as failed:  # the server holds its answer for as long as the test runs
        function.call(timeout_seconds=0.2)
    assert failed.value.kind is FailureKind.TIMEOUT


def test_what_bodies_of_subrequests_take_together_is_bounded(
    load: "Loader", upstream: Upstream, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(fetching, "SENDING_BYTES_MAX", 2 << 20)
    function = load.handler(
        f"""const send = () => fetch('{upstream.url}/status?200', {{method: 'POST', body: 'x'.repeat(1 << 20)}})
                .then((r) => r.text(), (e) => e.message);
            return Response.json([await Promise.all([send(), send(), send()]), await send()]);"""
    )
    together, after = json.loads(function.call().body)
    refused = "fetch: the bodies of subrequests may take 2 MiB together while they run"
    assert (sorted(together), after) == (["body", "body", refused], "body")


def test_subrequests_are_bounded_at_once_and_in_all(load: "Loader", upstream: Upstream):
    function = load.handler(
        f"""const one = () => fetch('{upstream.url}/echo').then((r) => r.status, (e) => e.message);
            const together = await Promise.all(Array.from({{length: {CONCURRENT_MAX + 1}}}, one));
            let last; for (let i = 0; i < {SUBREQUESTS_MAX}; i++) last = await one();
            return Response.json([together.at(-1), last]);"""
    )
    together, last = json.loads(function.call().body)
    assert f"{CONCURRENT_MAX} subrequests run already" in together
    assert f"{SUBREQUESTS_MAX} subrequests" in last


def test_a_signal_ends_a_body_that_nobody_waits_for_yet(load: "Loader", upstream: Upstream):
    function = load.handler(
        f"""const stop = new AbortController();
            const response = await fetch('{upstream.url}/endless', {{signal: stop.signal}});
            stop.abort();
            return new Response(await response.text().catch((e) => e.name));"""
    )
    assert function.call().body == b"AbortError"


def test_a_body_that_an_earlier_request_left_is_an_error_and_no_wait(load: "Loader", upstream: Upstream):
    function = load.module(
        f"""let left;
            return {{default: {{async fetch() {{
              if (left) return new Response(await left.text().catch((e) => e.message));
              left = await fetch('{upstream.url}/endless');
              return new Response('left');
            }}}}}};"""
    )
    assert function.call().body == b"left"
    assert b"is over" in function.call().body


def test_the_next_piece_of_a_body_is_sent_when_the_last_was_taken(load: "Loader", upstream: Upstream):
    function = load.handler(
        f"""globalThis.ReadableStream = class {{ constructor(source) {{ globalThis.source = source; }} }};
            await fetch('{upstream.url}/endless');
            for (let i = 0; i < 500; i++) source.pull({{enqueue() {{}}, close() {{}}}});
            await new Promise((done) => setTimeout(done, 10));
            const until = Date.now() + 300; while (Date.now() < until);
            console.log('pulled');
            return new Response('');"""
    )
    taken: list[int] = []

    def take_all() -> None:
        while function.instance.present.subrequests.take() is not None:
            taken.append(1)

    function.said.on_line = take_all
    function.call()
    assert len(taken) <= 2, "pieces of a body piled up in the host"


def test_a_request_that_the_functions_code_wrote_is_checked(load: "Loader", upstream: Upstream):
    function = load.handler(
        f"""const send = (fields) => {{
              Headers.toFields = () => fields;
              return fetch('{upstream.url}/echo', {{method: 'POST', body: 'b'}})
                .then((r) => r.text(), (e) => e.message);
            }};
            return Response.json([await send('\\nodd'), await send('\\nTransfer-Encoding\\nchunked')]);"""
    )
    odd, encoded = json.loads(function.call().body)
    assert "not HTTP" in odd
    assert "chunked" not in encoded


def test_a_signal_that_was_given_before_sends_nothing(load: "Loader", upstream: Upstream):
    function = load.handler(
        f"""const stopped = AbortSignal.abort(new RangeError('no'));
            let thrown;
            try {{ stopped.throwIfAborted(); }} catch (error) {{ thrown = error.name; }}
            new AbortController().signal.throwIfAborted();
            const sent = await fetch('{upstream.url}/echo', {{signal: stopped}}).catch((e) => e.name);
            return Response.json([thrown, sent]);"""
    )
    assert json.loads(function.call().body) == ["RangeError", "RangeError"]
    assert upstream.connections == 0


def test_requests_that_were_cancelled_take_no_connections_places(load: "Loader", upstream: Upstream):
    load.fetcher = load.fetcher_that_may_reach("127.0.0.1", limits=FetchLimits(connections_max=4))
    slow = load.handler(
        f"await Promise.all(Array.from({{length: 60}}, () => fetch('{upstream.url}/hold'))); return new Response('');"
    )
    with pytest.raises(CallError):
        slow.call(timeout_seconds=0.5)
    function = load.handler(f"return fetch('{upstream.url}/echo');")
    assert function.call().status == 200


def test_a_redirect_to_a_url_with_credentials_is_refused(load: "Loader", upstream: Upstream):
    to = upstream.url.replace("://", "://user:word@")
    function = load.handler(
        f"return new Response(await fetch('{upstream.url}/redirect?302&{to}/echo').catch((e) => `${{e}}`));"
    )
    assert b"redirects to a URL with credentials" in function.call().body


def test_a_signal_that_lives_long_keeps_nothing_of_a_fetch_that_is_over(load: "Loader", upstream: Upstream):
    function = load.handler(
        f"""const {{signal}} = new AbortController();
            const listeners = new Set();
            const [add, remove] = [signal.addEventListener, signal.removeEventListener];
            signal.addEventListener = function (...all) {{ listeners.add(all[1]); return add.apply(this, all); }};
            signal.removeEventListener = function (...all) {{
              listeners.delete(all[1]);
              return remove.apply(this, all);
            }};
            const during = [];
            for (const path of ['/echo', '/redirect?302&/echo', '/pieces', '/status?204', '/nothing', '/loop']) {{
              const sent = fetch('{upstream.url}' + path, {{signal}});
              during.push(listeners.size);
              await sent.then((r) => r.text()).catch(() => {{}});
            }}
            await (await fetch('{upstream.url}/endless', {{signal}})).body.cancel();
            return Response.json({{during, after: listeners.size}});"""
    )
    assert json.loads(function.call().body) == {"during": [1, 1, 1, 1, 1, 1], "after": 0}
