"""What a function can rely on, against the real engine."""

import base64
import contextlib
import json
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from skerry.engine.errors import CallError, FailureKind, LoadError
from skerry.engine.javascript import Instance
from skerry.engine.scheduled import ScheduledCall
from tests.system.engine.conftest import SECONDS_MAX, count_of, without_collection

if TYPE_CHECKING:
    from skerry.engine.instances import PooledInstance
    from tests.system.engine.conftest import Loader

ALL_BYTES = bytes(range(256)) * 8
CLASSES = ["Response", "Request", "Headers"]


def test_a_handler_sees_method_url_headers_body_and_env(load: "Loader"):
    function = load.handler(
        """const seen = {method: request.method, url: request.url, agent: request.headers.get("User-Agent"),
           all: [...request.headers], text: await request.text(), env};
           return Response.json(seen, {status: 201});""",
        {"GREETING": "grüß dich"},
    )
    answer = function.call(
        "POST",
        "https://hello.test:8080/a?b=c",
        headers=[("user-agent", "curl"), ("x-two", "1"), ("x-two", "2")],
        body="grüß 🦀".encode(),
    )
    assert answer.status == 201
    assert answer.header("content-type") == "application/json"
    assert json.loads(answer.body) == {
        "method": "POST",
        "url": "https://hello.test:8080/a?b=c",
        "agent": "curl",
        "all": [["user-agent", "curl"], ["x-two", "1, 2"]],
        "text": "grüß 🦀",
        "env": {"GREETING": "grüß dich"},
    }


def test_a_fetch_event_listener_is_a_handler(load: "Loader"):
    function = load.module(
        """addEventListener("fetch", (event) => {
             event.respondWith(new Response(`event ${event.request.method}`));
           });"""
    )
    assert function.call().body == b"event GET"


@pytest.mark.parametrize(
    "body",
    [
        "return new Response(await request.arrayBuffer());",
        "return new Response(await request.bytes());",
        "return new Response(await request.blob());",
        "return new Response(request.body);",
        "return new Response(request.clone().body);",
        "return new Response(request.body.pipeThrough(new TransformStream()));",
        "const copy = new Request(request); return new Response(await copy.arrayBuffer());",
        "return new Response(new Response(request.body).clone().body);",
    ],
)
def test_bytes_come_back_as_they_went_in(load: "Loader", body: str):
    assert load.handler(body).call("POST", body=ALL_BYTES).body == ALL_BYTES


def test_megabytes_pass_both_ways(load: "Loader"):
    body = ALL_BYTES * 2048  # 4 MiB
    assert load.handler("return new Response(await request.arrayBuffer());").call("POST", body=body).body == body
    text = "grüß 🦀 " * 200_000
    answer = load.handler("return new Response(await request.text());").call("POST", body=text.encode())
    assert answer.body.decode() == text


def test_a_stream_that_takes_its_time_is_a_body(load: "Loader"):
    function = load.handler(
        """let part = 0;
           const encoder = new TextEncoder();
           return new Response(new ReadableStream({
             async pull(controller) {
               await new Promise((done) => setTimeout(done, 1));
               controller.enqueue(encoder.encode(`part ${part++};`));
               if (part === 3) controller.close();
             },
           }));"""
    )
    assert function.call().body == b"part 0;part 1;part 2;"


def test_a_body_can_be_read_once(load: "Loader"):
    function = load.handler("await request.text(); return new Response(await request.text());")
    with pytest.raises(CallError, match="read already") as failed:
        function.call("POST", body=b"x")
    assert failed.value.kind is FailureKind.EXCEPTION


def test_each_cookie_that_is_set_is_a_header_of_its_own(load: "Loader"):
    function = load.handler(
        """const response = new Response(null, {status: 204, headers: {"set-cookie": "a=1"}});
           response.headers.append("Set-Cookie", "b=2");
           response.headers.append("x-cookies", response.headers.getSetCookie().length);
           return response;"""
    )
    assert function.call().headers == [("set-cookie", "a=1"), ("set-cookie", "b=2"), ("x-cookies", "2")]


def test_a_form_with_a_file_is_read_and_a_form_can_be_sent(load: "Loader"):
    form = (
        b'--b\r\nContent-Disposition: form-data; name="name"\r\n\r\nskerry\r\n--b\r\n'
        b'Content-Disposition: form-data; name="file"; filename="a.bin"\r\n'
        b"Content-Type: application/octet-stream\r\n\r\n\x00\xff\r\n--b--\r\n"
    )
    function = load.handler(
        """const form = await request.formData();
           const file = form.get("file");
           const bytes = new Uint8Array(await file.arrayBuffer());
           return Response.json([form.get("name"), file.name, file instanceof File, [...bytes]]);"""
    )
    answer = function.call("POST", headers=[("content-type", "multipart/form-data; boundary=b")], body=form)
    assert json.loads(answer.body) == ["skerry", "a.bin", True, [0, 255]]
    sender = load.handler(
        """const form = new FormData();
           form.set("a", "1");
           form.set("f", new File([new Uint8Array([0, 255])], "f.bin"));
           return new Response(form);"""
    )
    answer = sender.call()
    assert (answer.header("content-type") or "").startswith("multipart/form-data; boundary=")
    assert b'name="f"; filename="f.bin"' in answer.body
    assert b"\r\n\r\n\x00\xff\r\n" in answer.body
    encoded = load.handler("return Response.json([...await request.formData()]);").call(
        "POST", headers=[("content-type", "application/x-www-form-urlencoded")], body=b"a=1&b=%C3%BC"
    )
    assert json.loads(encoded.body) == [["a", "1"], ["b", "ü"]]


def test_timers_run_in_their_order_and_can_be_cleared(load: "Loader"):
    function = load.handler(
        """const seen = [];
           await new Promise((done) => {
             setTimeout(() => seen.push("second"), 20);
             setTimeout((word) => seen.push(word), 5, "first");
             const never = setTimeout(() => seen.push("never"), 10);
             clearTimeout(never);
             let ticks = 0;
             const ticker = setInterval(() => {
               if (++ticks === 3) { clearInterval(ticker); setTimeout(done, 20); }
             }, 5);
           });
           queueMicrotask(() => seen.push("micro"));
           await null;
           return Response.json(seen);"""
    )
    assert json.loads(function.call().body) == ["first", "second", "micro"]


def test_the_clock_and_randomness_are_real(load: "Loader"):
    function = load.handler(
        """const before = performance.now();
           await new Promise((done) => setTimeout(done, 30));
           const random = crypto.getRandomValues(new Uint8Array(16));
           const passed = performance.now() - before;
           return Response.json([passed, Date.now(), crypto.randomUUID(), random.toHex(), Math.random()]);"""
    )
    passed, now, uuid, random, number = json.loads(function.call().body)
    assert passed >= 29
    assert now > 1_700_000_000_000
    again = json.loads(function.call().body)
    assert again[2] != uuid
    assert again[3] != random
    other = load.handler("return Response.json(Math.random());")
    assert json.loads(other.call().body) != number


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("atob(btoa('hello'))", "hello"),
        ("new URL('../x?y=1', 'https://a.test/b/c').href", "https://a.test/x?y=1"),
        ("new URLSearchParams({a: 'b c'}).toString()", "a=b+c"),
        ("structuredClone({a: [1, new Date(0)]})", {"a": [1, "1970-01-01T00:00:00.000Z"]}),
        ("new TextDecoder('utf-16le').decode(new Uint8Array([104, 0]))", "h"),
        ("await new Blob(['a', new Uint8Array([98])]).text()", "ab"),
        (
            "new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode('a'))).toHex().slice(0, 8)",
            "ca978112",
        ),
        ("(() => { const c = new AbortController(); c.abort(); return c.signal.aborted; })()", True),
        (
            (
                "(() => { let n = 0; const t = new EventTarget(); t.addEventListener('x', () => n++); "
                "t.dispatchEvent(new Event('x')); return n; })()"
            ),
            1,
        ),
        (
            (
                "await new Response(new Blob(['x']).stream().pipeThrough(new CompressionStream('gzip'))"
                ".pipeThrough(new DecompressionStream('gzip'))).text()"
            ),
            "x",
        ),
        (
            (
                "await (async () => { let all = ''; "
                "for await (const part of ReadableStream.from(['a', 'b'])) all += part; return all; })()"
            ),
            "ab",
        ),
        ("await new Response(ReadableStream.from(['ü']).pipeThrough(new TextEncoderStream())).text()", "ü"),
        ("[...new Headers({b: '1', A: ' 2 '})]", [["a", "2"], ["b", "1"]]),
        ("[...Response.json(1, {headers: {a: 'b'}}).headers]", [["a", "b"], ["content-type", "application/json"]]),
        ("Response.json(1, {headers: {'content-type': 'a/b'}}).headers.get('content-type')", "a/b"),
        ("Response.redirect('https://a.test/', 303).headers.get('location')", "https://a.test/"),
        (
            "[new Request('https://a.test', {method: 'post', body: 'x'}).method, new Response() instanceof Response]",
            ["POST", True],
        ),
        ("typeof performance.now() + typeof navigator.userAgent", "numberstring"),
        ("[URL.canParse('/a', 'https://b.test'), URL.canParse('/a'), URL.parse('nothing')]", [True, False, None]),
        (
            "new URLPattern({pathname: '/books/:id(\\\\d+)'}).exec('https://a.test/books/7').pathname.groups",
            {"id": "7"},
        ),
        ("new URLPattern('https://*.test/:größe').exec('https://a.test/5').pathname.groups", {"größe": "5"}),
        ("[new Response(), new Request('https://a.test'), new Headers()].map((o) => o.constructor.name)", CLASSES),
        ("Math.abs(performance.timeOrigin + performance.now() - Date.now()) < 1000", True),
        ("AbortSignal.abort().reason.name", "AbortError"),
        ("AbortSignal.any([AbortSignal.abort('why')]).reason", "why"),
        (
            (
                "(() => { const a = new AbortController(), b = new AbortController(); "
                "const s = AbortSignal.any([a.signal, b.signal]); b.abort('b'); a.abort('a'); return s.reason; })()"
            ),
            "b",
        ),
        (
            (
                "(() => { const r = new Request('https://a.test', {method: 'POST', body: 'x'});"
                " try { new Request(r, {method: 'GET'}) } catch (e) { return [e.name, r.bodyUsed] } })()"
            ),
            ["TypeError", False],
        ),
        (
            (
                "['HEAD', 'GET'].map((method) =>"
                " new Request(new Request('https://a.test', {method: 'POST'}), {method}).body)"
            ),
            [None, None],
        ),
        (
            (
                "(() => { const r = new Request('https://a.test', {signal: AbortSignal.abort()});"
                " return [{}, {signal: undefined}, {signal: null}]"
                ".map((init) => new Request(r, init).signal.aborted) })()"
            ),
            [True, True, False],
        ),
        (
            "[() => btoa('あ'), () => atob('*')].map((f) => { try { f() } catch (e) { return e.name } })",
            ["InvalidCharacterError", "InvalidCharacterError"],
        ),
    ],
)
def test_the_web_apis_work(load: "Loader", expression: str, value: object):
    function = load.handler(f"return Response.json({expression});")
    assert json.loads(function.call().body) == value


def _number(value: int, octets: int) -> str:
    return _base64url(value.to_bytes(octets))


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


SIGNED = b"what was signed"


def _signed_with_rsa() -> tuple[dict[str, str], bytes]:
    key = rsa.generate_private_key(65_537, 2048)
    numbers = key.public_key().public_numbers()
    jwk = {"kty": "RSA", "e": _number(numbers.e, 3), "n": _number(numbers.n, 256)}
    return jwk, key.sign(SIGNED, padding.PKCS1v15(), hashes.SHA256())


def _signed_on_a_curve() -> tuple[dict[str, str], bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    point = key.public_key().public_numbers()
    r, s = decode_dss_signature(key.sign(SIGNED, ec.ECDSA(hashes.SHA256())))
    jwk = {"kty": "EC", "crv": "P-256", "x": _number(point.x, 32), "y": _number(point.y, 32)}
    return jwk, r.to_bytes(32) + s.to_bytes(32)


@pytest.mark.parametrize(
    ("signed", "algorithm"),
    [
        (_signed_with_rsa, "{name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256'}"),
        (_signed_on_a_curve, "{name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256'}"),
    ],
)
def test_signatures_of_tokens_are_verified_by_keys_as_jwk(
    load: "Loader", signed: Callable[[], tuple[dict[str, str], bytes]], algorithm: str
):
    jwk, signature = signed()
    function = load.handler(
        f"""const {{jwk, signature, text}} = await request.json();
            // Libraries for tokens pass members on that were never given.
            const key = await crypto.subtle.importKey('jwk', {{...jwk, ext: undefined}}, {algorithm}, true, ['verify']);
            const verify = (data) => crypto.subtle.verify({algorithm}, key, Uint8Array.fromBase64(signature), data);
            const data = new TextEncoder().encode(text);
            return Response.json([await verify(data), await verify(data.subarray(1))]);"""
    )
    asked = {"jwk": jwk, "signature": base64.b64encode(signature).decode(), "text": SIGNED.decode()}
    assert json.loads(function.call("POST", body=json.dumps(asked).encode()).body) == [True, False]


@pytest.mark.parametrize(
    "code",
    [
        "new Headers({'a b': '1'})",
        "new Headers({a: 'b\\nc'})",
        "new Response('x', {status: 99})",
        "new Response('x', {status: 204})",
        "Response.json('x', {status: 204})",
        "new Request('not a url')",
        "new Request('https://a.test', {method: 'GET', body: 'x'})",
        "new Response('x', {statusText: 'a\\nb'})",
    ],
)
def test_wrong_values_are_refused_where_they_are_given(load: "Loader", code: str):
    function = load.handler(
        f"try {{ {code} }} catch (error) {{ return new Response(error.name); }} return new Response('taken');"
    )
    assert function.call().body in {b"TypeError", b"RangeError"}


def test_console_lines_have_their_level_and_are_bounded(load: "Loader"):
    function = load.handler(
        """console.log("text", 1, {a: [1, "b"], f: null}, new Map([["k", new Set([1])]]));
           console.warn("%s is %d", "x", 5); console.error(new TypeError("bad")); console.debug(undefined, 1n);
           const loop = {}; loop.self = loop; console.info(loop);
           console.log({get bad() { throw new Error("no"); }});
           console.log("x".repeat(1e6));
           return new Response();"""
    )
    function.call()
    lines = function.said.lines
    assert lines[0] == (1, 'text 1 { a: [ 1, "b" ], f: null } Map(1) { "k" => Set(1) { 1 } }')
    assert lines[1] == (2, "x is 5")
    assert lines[2][0] == 3
    assert lines[2][1].startswith("TypeError: bad\nfetch@function.js:")
    assert lines[3] == (0, "undefined 1n")
    assert lines[4] == (1, "{ self: [Circular] }")
    assert "could not write" in lines[5][1]
    assert len(lines[6][1]) == 16 * 1024


def test_work_left_to_wait_until_runs_after_the_answer(load: "Loader"):
    function = load.handler(
        """ctx.waitUntil((async () => { await new Promise((done) => setTimeout(done, 5)); console.log("later"); })());
           ctx.waitUntil(Promise.reject(new Error("lost")));
           ctx.passThroughOnException();
           return new Response("now");"""
    )
    reply = function.instance.handle(b"GET\nhttp://hello.test/", b"", SECONDS_MAX)
    assert (reply.body, reply.work_left) == (b"now", True)
    assert function.said.lines == []
    function.instance.settle(SECONDS_MAX)
    assert function.said.lines[0] == (1, "later")
    assert "Uncaught (in waitUntil) Error: lost" in function.said.lines[1][1]


DUE = ScheduledCall("hello-1", "*/5 * * * *", 1_893_456_300_000)


@pytest.mark.parametrize(
    "module",
    [
        "return {default: {async scheduled(event, env, ctx) { HANDLE }}};",
        "addEventListener('scheduled', (event) => { const ctx = event; HANDLE }); return {};",
    ],
)
def test_a_scheduled_handler_is_told_when_it_was_due_and_by_which_schedule(load: "Loader", module: str):
    handle = "console.log(event.cron, event.scheduledTime, event.type); ctx.waitUntil(later());"
    later = "const later = async () => { await null; console.log('later'); };"
    function = load.module(later + module.replace("HANDLE", handle))
    reply = function.instance.handle(DUE.head, b"", SECONDS_MAX)
    assert (reply.status, reply.work_left) == (204, True)
    function.instance.settle(SECONDS_MAX)
    assert [line for _, line in function.said.lines] == ["*/5 * * * * 1893456300000 scheduled", "later"]
    with pytest.raises(CallError, match="the bundle has no handler: export default"):
        function.call()


def test_a_scheduled_run_without_a_handler_or_with_one_that_throws_fails_with_the_reason(load: "Loader"):
    with pytest.raises(CallError, match="the bundle has no scheduled handler"):
        load.handler("return new Response();").instance.handle(DUE.head, b"", SECONDS_MAX)
    throwing = load.module("return {default: {async scheduled() { await null; throw new RangeError('no luck'); }}};")
    with pytest.raises(CallError, match="RangeError: no luck"):
        throwing.instance.handle(DUE.head, b"", SECONDS_MAX)


def test_globals_last_from_request_to_request(load: "Loader"):
    function = load.module("let n = 0; return {default: {fetch() { return new Response(String(++n)); }}};")
    assert [function.call().body for _ in range(3)] == [b"1", b"2", b"3"]


@pytest.mark.parametrize("size", [0, 1, 5_000, 16 * 1024, 100_000])
def test_text_of_every_size_arrives_whole_both_ways(load: "Loader", size: int):
    function = load.handler(
        """console.log(await request.clone().text());
           return new Response(await request.text(), {headers: {"x-same": request.headers.get("x-given")}});"""
    )
    text = "hé€🙂"[: size % 4 or 4] * (size // 4 + 1)
    answer = function.call("POST", headers=[("x-given", "v" * (size % 8_000))], body=text.encode())
    assert (answer.body.decode(), answer.header("x-same")) == (text, "v" * (size % 8_000))
    assert text.startswith(function.said.lines[0][1].rstrip("\ufffd"))  # a line is cut where it is too long


def test_what_passes_through_an_instance_does_not_stay_in_it(load: "Loader"):
    function = load.handler(
        "console.log('said '.repeat(200)); return new Response(new Uint8Array(request.headers.get('x-size')));"
    )
    filler = ("x-filler", "f" * 20_000)
    for size in (10, 30_000) * 5_000:  # 350 MB; the instance may have 128 MiB
        assert len(function.call(headers=[("x-size", str(size)), filler]).body) == size


def test_a_timer_that_throws_is_told_and_hurts_nobody(load: "Loader"):
    function = load.handler(
        """setTimeout(() => { throw new Error('in a timer') }, 1);
           await new Promise((done) => setTimeout(done, 10));
           return new Response('fine');"""
    )
    assert function.call().body == b"fine"
    assert "Uncaught (in a timer) Error: in a timer" in function.said.lines[0][1]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("null.x;", "TypeError: can't access property"),
        ("throw new RangeError('too far');", "RangeError: too far"),
        ("throw 'a string';", "a string"),
        ("await Promise.reject(new Error('later'));", "Error: later"),
        ("return 'text';", "did not return a Response"),
        ("return Response.error();", "Response.error"),
        ("await new Promise(() => {});", "will never answer"),
        ("await import(`./${request.method}.js`);", "imports a module while it runs"),
        ("const f = () => f() + 1; f();", "too much recursion"),
    ],
)
def test_an_exception_or_rejection_is_told_with_its_message(load: "Loader", body: str, message: str):
    with pytest.raises(CallError, match=message) as failed:
        load.handler(body).call()
    assert failed.value.kind is FailureKind.EXCEPTION


@pytest.mark.parametrize(
    "thrown",
    [
        "Object.create(null)",
        "new Proxy({}, {getPrototypeOf() { throw 1; }})",
        "Object.defineProperty(new Error(), 'message', {get() { throw 1; }})",
    ],
)
def test_a_thrown_value_that_cannot_be_read_is_an_exception_like_others(load: "Loader", thrown: str):
    function = load.handler(f"throw {thrown};")
    with pytest.raises(CallError, match="cannot be written as text") as caught:
        function.call()
    assert caught.value.kind is FailureKind.EXCEPTION


def test_the_stack_of_an_exception_has_the_authors_frames_only(load: "Loader"):
    with pytest.raises(CallError) as failed:
        load.handler("const inner = () => { throw new Error('x'); };\ninner();").call()
    assert failed.value.stack.split("\n") == ["inner@function.js:4:29", "fetch@function.js:5:1"]


def test_the_stack_of_an_exception_tells_what_caused_it(load: "Loader"):
    function = load.module(
        """function inner() { throw new RangeError("the root"); }
           addEventListener("fetch", () => {
             try { inner() } catch (cause) { throw new Error("outer", { cause }) }
           });"""
    )
    with pytest.raises(CallError) as raised:
        function.call()
    assert raised.value.public == "Error: outer"
    assert "caused by: RangeError: the root\ninner@" in raised.value.stack


@pytest.mark.parametrize(
    ("cause", "told"),
    [
        ("error.cause = error;", "caused by: [Circular]"),
        ("error.cause = new TypeError('why', {cause: error});", "caused by: TypeError: why\n"),
        ("error.cause = {error};", "caused by: { error: [Circular] }"),
        (
            "let cause = 'root'; for (let i = 0; i < 100_000; i++) cause = new Error(i, {cause}); error.cause = cause;",
            "caused by: Error: 99999\n",
        ),
    ],
    ids=["itself", "each other", "within", "very many"],
)
def test_an_exception_that_causes_itself_is_told(load: "Loader", cause: str, told: str):
    function = load.handler(f"const error = new RangeError('it broke'); {cause} console.log(error); throw error;")
    with pytest.raises(CallError) as raised:
        function.call()
    assert raised.value.public == "RangeError: it broke"
    assert told in raised.value.stack
    assert function.said.lines[0][1].startswith("RangeError: it broke\n")


def test_a_request_that_came_with_a_body_is_copied_with_it(load: "Loader"):
    function = load.handler("return new Response(await new Request(request).text());")
    assert function.call("GET", body=b"odd").body == b"odd"


def test_the_stack_of_an_exception_has_the_frames_that_run(load: "Loader"):
    with pytest.raises(CallError) as failed:
        load.handler("const inner = async () => { await 0; throw new Error('x'); };\nawait inner();").call()
    assert failed.value.stack == "inner@function.js:4:44"


@pytest.mark.parametrize(
    "body",
    [
        "for (;;) {}",
        "await new Promise((done) => setTimeout(done, 1e6));",
        "await new Promise(() => setInterval(() => {}, 1));",
        "const spin = () => Promise.resolve().then(spin); await spin();",
        "/(a+)+$/.test('a'.repeat(100) + 'b');",
        "const sum = (n) => n < 2 ? n : sum(n - 1) + sum(n - 2); sum(100);",
        "(7n ** 1000000n).toString();",
        "[].indexOf.call({length: 2 ** 53 - 1}, 1);",
    ],
)
def test_computing_and_waiting_both_end_at_the_time_limit(load: "Loader", body: str):
    function = load.handler(body)
    with pytest.raises(CallError) as failed:
        function.call(timeout_seconds=0.3)
    assert failed.value.kind is FailureKind.TIMEOUT


def test_a_call_that_computes_is_looked_at_with_what_it_takes_by_then(load: "Loader"):
    def look(instance: "PooledInstance") -> None:
        if instance.memory_bytes > 40_000_000:
            instance.stop(CallError(FailureKind.OVERLOADED, "it takes too much"))

    load.on_look = look
    function = load.handler("const all = []; for (;;) if (all.length < 40) all.push(new Uint8Array(1e6).fill(1));")
    with pytest.raises(CallError, match="it takes too much"):
        function.call()


@pytest.mark.parametrize(
    "body",
    [
        "const all = []; for (;;) all.push(new Uint8Array(1e6).fill(1));",
        "const all = []; for (;;) all.push({a: 1});",
        "let text = 'x'; for (;;) text = (text + text).replace('x', 'y');",
    ],
)
def test_memory_ends_at_its_limit(load: "Loader", body: str):
    function = load.handler(body, memory_mib=64)
    with pytest.raises(CallError, match="64 MiB|allocation size|longer than|too long") as failed:
        function.call()
    assert failed.value.kind in {FailureKind.MEMORY, FailureKind.EXCEPTION}
    assert function.instance.memory.size_bytes <= 64 << 20


@pytest.mark.parametrize(
    ("bundle", "message"),
    [
        ("const x = ;", "SyntaxError"),
        ("return {default: {}};", "has no handler"),
        ("throw new Error('at load');", "Error: at load"),
        ("missing();", "ReferenceError: missing is not defined"),
    ],
)
def test_a_bundle_that_does_not_load_says_why(load: "Loader", bundle: str, message: str):
    with pytest.raises(LoadError, match=message) as failed:
        load.module(bundle)
    if "handler" not in message:
        assert failed.value.line == 3


def test_a_bundle_that_never_has_loaded_is_ended(load: "Loader", monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("skerry.engine.javascript_guest.LOAD_SECONDS_MAX", 0.3)
    with pytest.raises(LoadError, match="within"):
        load.module("for (;;) {}")


def test_one_instance_knows_nothing_of_another(load: "Loader"):
    bundle = "globalThis.n = (globalThis.n ?? 0) + 1; return new Response(String(globalThis.n));"
    assert [load.handler(bundle).call().body for _ in range(2)] == [b"1", b"1"]


@pytest.mark.parametrize(
    "tampering",
    [
        "Promise.prototype.then = () => undefined;",
        "JSON.stringify = () => 'no JSON'; throw new Error('a');",
        "JSON.stringify = () => '{}'; throw new Error('a');",
        'JSON.stringify = () => \'{"message": 1, "stack": [], "name": {}}\'; throw new Error(\'a\');',
        "Object.prototype.toJSON = () => 1; throw new Error('a');",
        "TextEncoder.prototype.encodeInto = () => ({written: 2 ** 31}); throw new Error('a');",
    ],
)
def test_a_function_that_replaces_the_language_fails_as_others_do(load: "Loader", tampering: str):
    function = load.module(f"return {{default: {{fetch() {{ {tampering}\nreturn Promise.resolve(1); }}}}}};")
    with pytest.raises(CallError):
        function.call("GET", "http://hello.test/", headers=[("x", "y" * 100)], timeout_seconds=5)


def test_a_bundle_that_replaces_json_while_it_loads_is_refused(load: "Loader"):
    with pytest.raises(LoadError):
        load.module("JSON.stringify = () => 'no JSON'; return {default: {fetch() {}}};")


def test_promises_go_on_between_two_timers_that_are_due_at_once(load: "Loader"):
    function = load.handler(
        """const seen = [];
           const first = new Promise((done) => setTimeout(() => { seen.push('timer 1'); done(); }, 5));
           first.then(() => seen.push('promise'));
           await new Promise((done) => setTimeout(() => { seen.push('timer 2'); done(); }, 5));
           return Response.json(seen);"""
    )
    assert json.loads(function.call().body) == ["timer 1", "promise", "timer 2"]


def test_a_timer_that_was_cleared_keeps_nobody_waiting(load: "Loader"):
    function = load.handler("const id = setTimeout(() => {}, 1e8); clearTimeout(id); await new Promise(() => {});")
    with pytest.raises(CallError, match="nothing is left to resolve"):
        function.call()


def test_a_signal_aborts_after_its_time(load: "Loader"):
    function = load.handler(
        """const signal = AbortSignal.timeout(5);
           await new Promise((done) => signal.addEventListener('abort', done));
           return new Response(signal.reason.name);"""
    )
    assert function.call().body == b"TimeoutError"


@pytest.mark.parametrize("body", ["for (;;) {}", "throw new Error('x')", "return new Response('fine');"])
def test_an_instance_that_is_dropped_is_freed_at_once_however_its_call_ended(load: "Loader", body: str):
    loaded = load.handler(body)
    with without_collection():  # it takes its memory with it, which can't wait for a look at cycles
        there = count_of(Instance)
        with contextlib.suppress(CallError):
            loaded.call(timeout_seconds=0.1)
        del loaded
        assert count_of(Instance) == there - 1


def test_a_clone_of_a_body_has_bytes_of_its_own(load: "Loader"):
    function = load.handler(
        """const clone = request.clone(); const own = await request.bytes(); own[0] = 65;
           const given = new Response(new Uint8Array([1, 2])); const copy = given.clone();
           (await given.bytes())[0] = 9;
           return Response.json([await clone.text(), ...await copy.bytes()]);"""
    )
    assert json.loads(function.call("POST", body=b"hello").body) == ["hello", 1, 2]
