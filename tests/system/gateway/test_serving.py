"""What requests meet: routes, filters, functions, timeouts; through a real Envoy."""

import asyncio
import ssl
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest

from skerry.engine import http2
from skerry.engine.connection import ConnectionLimits
from skerry.engine.http1 import REPLY_HEADER_BYTES_MAX, REPLY_HEADERS_MAX, checked_head
from skerry.gateway import envoy_config
from skerry.gateway.envoy_config import ENGINE_IDLE_SECONDS_MAX
from skerry.server.serve import ServeSettings
from tests.system.gateway.conftest import TIMEOUT_SECONDS

pytestmark = pytest.mark.system

GATEWAY = """
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: skerry}
spec: {controllerName: skerry.dev/gateway-controller}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge, namespace: default, labels: {skerry.dev/default-functions: "true"}}
spec:
  gatewayClassName: skerry
  listeners: [{name: http, port: PORT, protocol: HTTP}]
"""
FUNCTION_REF = "{group: extensions.apoxy.dev, kind: EdgeFunction, name: %s}"


def function(name: str, revision: str, timeout: str = "30s") -> str:
    return f"""
---
apiVersion: extensions.apoxy.dev/v1alpha2
kind: EdgeFunction
metadata: {{name: {name}}}
spec:
  template:
    mode: backend
    code: {{jsSource: {{entrypoint: a.js, assets: {{files: [{{path: a.js, content: "1"}}]}}}}}}
    runtime: {{timeout: {timeout}}}
status: {{liveRevision: {revision}}}
"""


def route(name: str, spec: str) -> str:
    return f"""
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: {name}, namespace: default}}
spec:
  parentRefs: [{{name: edge}}]
{spec}
"""


def backend(name: str) -> str:
    return f"""
---
apiVersion: core.apoxy.dev/v1alpha2
kind: Backend
metadata: {{name: {name}}}
spec: {{endpoints: [{{ip: 127.0.0.1}}]}}
"""


def backend_ref(name: str, port: int, more: str = "") -> str:
    return f"{{group: core.apoxy.dev, kind: Backend, name: {name}, port: {port}{more}}}"


async def test_a_function_answers_at_its_own_host(edge_with: Any, engine_with: Any) -> None:
    async with engine_with() as (_, node), edge_with(GATEWAY + function("hello", "hello-1"), node) as edge:
        response = await edge.get("hello.functions.localhost:1234/a/b?c=d")
        assert response.status_code == 200
        assert response.json()["headers"]["x-skerry-revision"] == "hello-1"
        assert response.json()["headers"]["host"] == "hello.functions.localhost:1234"
        assert response.json()["path"] == "/a/b?c=d"
        assert (await edge.get("other.functions.localhost/")).status_code == 404


async def test_a_client_cannot_choose_a_revision_or_a_timeout(edge_with: Any, engine_with: Any) -> None:
    hostile = {
        "x-skerry-revision": "evil",
        "X-Skerry-Anything": "1",
        "x-envoy-upstream-rq-timeout-ms": "1",
        "x-envoy-retry-on": "5xx",
    }
    async with engine_with() as (_, node), edge_with(GATEWAY + function("hello", "hello-1"), node) as edge:
        headers = (await edge.get("hello.functions.localhost/", headers=hostile)).json()["headers"]
        assert headers["x-skerry-revision"] == "hello-1"
        assert "x-skerry-anything" not in headers
        assert "x-envoy-upstream-rq-timeout-ms" not in headers
        assert "x-envoy-retry-on" not in headers


async def test_matches_lead_to_their_own_backends(edge_with: Any, engine_with: Any) -> None:
    names = ["exact", "prefix", "regex", "header", "query", "method", "other"]
    rules = [
        "{path: {type: Exact, value: /x}}",
        "{path: {value: /p}}",
        '{path: {type: RegularExpression, value: "/r[0-9]+"}}',
        '{path: {value: /m}, headers: [{name: X-Kind, value: "a.*", type: RegularExpression}]}',
        '{path: {value: /m}, queryParams: [{name: q, value: "1"}]}',
        "{path: {value: /m}, method: DELETE}",
        "{path: {value: /m}}",
    ]
    spec = "  rules:\n" + "".join(
        f"  - matches: [{match}]\n    backendRefs: [{FUNCTION_REF % name}]\n"
        for name, match in zip(names, rules, strict=True)
    )
    text = GATEWAY + route("matches", spec) + "".join(function(name, f"{name}-4") for name in names)
    async with engine_with() as (_, node), edge_with(text, node) as edge:

        async def ask(url: str, **more: Any) -> str:
            response = await edge.get(f"any.test{url}", **more)
            if response.status_code != 200:
                return str(response.status_code)
            revision: str = response.json()["headers"]["x-skerry-revision"]
            return revision.removesuffix("-4")

        assert await ask("/x") == "exact"
        assert await ask("/x/") == "404"
        assert await ask("/p") == await ask("/p/q") == await ask("/./p/../p") == await ask("//p") == "prefix"
        assert await ask("/pq") == "404"
        assert await ask("/r12") == "regex"
        assert await ask("/r12/3") == "404"
        assert await ask("/m", headers={"x-kind": "abc"}) == "header"
        assert await ask("/m?q=1") == "query"
        assert await ask("/m", method="DELETE", headers={"x-kind": "abc"}) == "method"
        assert await ask("/m?q=2") == "other"


async def test_filters_change_requests_and_answers(edge_with: Any, new_upstream: Any, until: Any) -> None:
    upstream, copy = new_upstream("main"), new_upstream("copy")
    port, copy_port = await upstream.listen_tcp(), await copy.listen_tcp()
    ref = backend_ref("main", port)
    spec = f"""
  rules:
  - matches: [{{path: {{value: /headers}}}}]
    filters:
    - type: RequestHeaderModifier
      requestHeaderModifier:
        {{set: [{{name: X-Set, value: 50%}}], add: [{{name: X-Add, value: b}}], remove: [X-Gone]}}
    - {{type: ResponseHeaderModifier, responseHeaderModifier: {{set: [{{name: X-Answer, value: "yes"}}]}}}}
    - {{type: RequestMirror, requestMirror: {{backendRef: {backend_ref("copy", copy_port)}}}}}
    backendRefs: [{ref}]
  - matches: [{{path: {{value: /old}}}}]
    filters:
    - type: URLRewrite
      urlRewrite: {{hostname: new.test, path: {{type: ReplacePrefixMatch, replacePrefixMatch: /new/}}}}
    backendRefs: [{ref}]
  - matches: [{{path: {{value: /strip}}}}]
    filters: [{{type: URLRewrite, urlRewrite: {{path: {{type: ReplacePrefixMatch, replacePrefixMatch: /}}}}}}]
    backendRefs: [{ref}]
  - matches: [{{path: {{value: /full}}}}]
    filters: [{{type: URLRewrite, urlRewrite: {{path: {{type: ReplaceFullPath, replaceFullPath: /one}}}}}}]
    backendRefs: [{ref}]
"""
    async with edge_with(GATEWAY + route("filters", spec) + backend("main") + backend("copy")) as edge:
        answer = await edge.get("a.test/headers", headers={"X-Set": "1", "X-Add": "a", "X-Gone": "1"})
        headers = answer.json()["headers"]
        assert (headers["x-set"], headers["x-add"], "x-gone" in headers) == ("50%", "a, b", False)
        assert answer.headers["x-answer"] == "yes"
        assert answer.headers["server"] == "skerry"
        await until(lambda: copy.requests)
        assert copy.requests[0].path == "/headers"

        async def rewritten(path: str) -> tuple[str, str]:
            told = (await edge.get(f"a.test{path}")).json()
            return told["path"], told["headers"]["host"]

        assert await rewritten("/old") == ("/new", "new.test")
        assert await rewritten("/old/") == ("/new/", "new.test")
        assert await rewritten("/old/a?b=c") == ("/new/a?b=c", "new.test")
        assert await rewritten("/strip/a") == ("/a", "a.test")
        assert await rewritten("/strip") == ("/", "a.test")
        assert await rewritten("/strip/") == ("/", "a.test")
        assert await rewritten("/full/x?q=1") == ("/one?q=1", "a.test")
    upstream.kill()
    copy.kill()


async def test_redirects_and_direct_responses_answer_by_themselves(edge_with: Any) -> None:
    spec = """
  rules:
  - matches: [{path: {value: /old}}]
    filters:
    - type: RequestRedirect
      requestRedirect: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /new}, statusCode: 301}
  - matches: [{path: {value: /secure}}]
    filters: [{type: RequestRedirect, requestRedirect: {scheme: https, hostname: b.test}}]
  - matches: [{path: {value: /teapot}}]
    filters:
    - {type: ExtensionRef, extensionRef: {group: extensions.apoxy.dev, kind: DirectResponse, name: teapot}}
---
apiVersion: extensions.apoxy.dev/v1alpha2
kind: DirectResponse
metadata: {name: teapot}
spec:
  statusCode: 418
  contentType: application/json
  headers: [{name: x-a, value: 100%}]
  body: {inline: '{"short": "and stout"}'}
"""
    async with edge_with(GATEWAY + route("answers", spec)) as edge:
        moved = await edge.get("a.test/old/page?x=1")
        assert (moved.status_code, moved.headers["location"]) == (301, f"http://a.test:{edge.port}/new/page?x=1")
        assert (await edge.get("a.test/secure/p")).headers["location"] == "https://b.test/secure/p"
        teapot = await edge.get("a.test/teapot")
        assert (teapot.status_code, teapot.json()) == (418, {"short": "and stout"})
        assert (teapot.headers["content-type"], teapot.headers["x-a"]) == ("application/json", "100%")


async def test_weights_share_requests_and_a_broken_share_answers_500(edge_with: Any, engine_with: Any) -> None:
    refs = [FUNCTION_REF % "one" + "", FUNCTION_REF % "gone", FUNCTION_REF % "unready"]
    spec = f"  rules:\n  - backendRefs: [{', '.join(refs)}]\n"
    text = GATEWAY + route("split", spec) + function("one", "one-4") + function("unready", "''")
    async with engine_with() as (_, node), edge_with(text, node) as edge:
        seen: Counter[int] = Counter()
        for _ in range(600):
            seen[(await edge.get("a.test/")).status_code] += 1
        assert seen.keys() == {200, 500, 503}
        # 600 draws of a third each: six standard deviations are 70.
        assert all(130 < count < 270 for count in seen.values()), seen


async def test_a_function_that_is_not_live_answers_503_with_its_name(edge_with: Any) -> None:
    text = GATEWAY + route("r", f"  rules:\n  - backendRefs: [{FUNCTION_REF % 'late'}]\n") + function("late", "''")
    async with edge_with(text) as edge:
        response = await edge.get("a.test/")
        assert (response.status_code, response.json()) == (
            503,
            {"code": 503, "message": "function late has no live revision"},
        )


async def test_timeouts_of_rules_end_requests(edge_with: Any, new_upstream: Any) -> None:
    upstream = new_upstream("slow")
    never = asyncio.Event()

    async def stuck(_: Any) -> tuple[int, str]:
        await never.wait()
        return 200, "{}"

    upstream.answer = stuck
    ref = backend_ref("slow", await upstream.listen_tcp())
    spec = f"""
  rules:
  - matches: [{{path: {{value: /request}}}}]
    timeouts: {{request: 100ms}}
    backendRefs: [{ref}]
  - matches: [{{path: {{value: /try}}}}]
    timeouts: {{backendRequest: 100ms}}
    backendRefs: [{ref}]
"""
    async with edge_with(GATEWAY + route("slow", spec) + backend("slow")) as edge:
        assert (await edge.get("a.test/request")).status_code == 504
        assert (await edge.get("a.test/try")).status_code == 504
    upstream.kill()


async def test_a_killed_worker_is_retried_on_another_and_on_its_return(
    edge_with: Any, engine_with: Any, until: Any, tmp_path: Path
) -> None:
    async with engine_with(workers=2) as (workers, node), edge_with(GATEWAY + function("f", "f-4"), node) as edge:

        async def die(_: Any) -> tuple[int, str]:
            workers[0].kill()
            return 200, ""

        workers[0].answer = die
        while workers[0].server.is_serving():
            assert (await edge.get("f.functions.localhost/")).status_code == 200  # the second worker answers
        workers[1].kill()
        async with asyncio.TaskGroup() as group:
            asking = [
                group.create_task(edge.get("f.functions.localhost/", method=method))
                for method in ("GET", "PUT", "POST")
            ]

            async def are_retried() -> bool:
                name = "cluster.engine.upstream_rq_retry"
                count: int = (await edge.envoy.statistics(name))[name]
                return count >= 4

            await until(are_retried)
            (tmp_path / "worker-1.sock").unlink(missing_ok=True)
            await workers[1].listen_unix(tmp_path / "worker-1.sock")
        assert [task.result().status_code for task in asking] == [200, 200, 200]


async def test_a_request_that_may_have_been_handled_is_not_sent_twice(edge_with: Any, engine_with: Any) -> None:
    async with engine_with() as ([worker], node), edge_with(GATEWAY + function("f", "f-4"), node) as edge:

        async def reset(_: Any) -> tuple[int, str]:
            for writer in list(worker.writers):
                writer.transport.abort()
            return 200, ""

        worker.answer = reset
        assert (await edge.get("f.functions.localhost/", method="POST")).status_code == 503
        assert len(worker.requests) == 1


def test_envoy_closes_an_idle_connection_long_before_its_other_side_does() -> None:
    """What is sent on a connection as its other side closes is lost, and a POST may not be sent again."""
    others = (ConnectionLimits().idle_seconds_max, http2.IDLE_SECONDS_MAX, ServeSettings().keep_alive_seconds)
    assert min(others) >= 1.5 * ENGINE_IDLE_SECONDS_MAX


async def test_an_idle_connection_to_a_worker_is_closed_by_envoy(
    edge_with: Any, engine_with: Any, until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(envoy_config, "ENGINE_IDLE_SECONDS_MAX", 0.2)
    async with engine_with() as ([worker], node), edge_with(GATEWAY + function("f", "f-4"), node) as edge:
        assert (await edge.get("f.functions.localhost/")).status_code == 200
        await until(lambda: not worker.writers)


async def test_what_a_worker_lets_pass_is_never_refused_and_so_never_asked_for_again(
    edge_with: Any, engine_with: Any
) -> None:
    longest = "x: " + "y" * (REPLY_HEADER_BYTES_MAX - 5) + "\r\n"
    most = "".join(f"x-{number}: y\r\n" for number in range(REPLY_HEADERS_MAX))
    async with engine_with() as ([worker], node), edge_with(GATEWAY + function("f", "f-4"), node) as edge:
        for worker.headers in (longest, most):
            checked_head(worker.headers.encode())
            assert (await edge.get("f.functions.localhost/")).status_code == 200
        assert len(worker.requests) == 2


def make_certificate(directory: Path, name: str) -> tuple[Path, Path]:
    """Make a self-signed certificate for a DNS name; returns the paths of the chain and the key."""
    chain, key = directory / f"{name}.crt", directory / f"{name}.key"
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    make += ["-days", "1", "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}"]
    subprocess.run([*make, "-keyout", key, "-out", chain], check=True, capture_output=True)
    return chain, key


async def test_tls_listeners_present_the_certificate_of_the_name(edge_with: Any, tmp_path: Path) -> None:
    secrets = ""
    for name in ("a", "b"):
        chain, key = (path.read_text().replace("\n", "\\n") for path in make_certificate(tmp_path, f"{name}.test"))
        secrets += f"""
---
apiVersion: v1
kind: Secret
metadata: {{name: {name}, namespace: default}}
type: kubernetes.io/tls
stringData: {{tls.key: "{key}", tls.crt: "{chain}"}}
"""
    listeners = """
  - {name: a, port: PORT, protocol: HTTPS, hostname: a.test, tls: {certificateRefs: [{name: a}]}}
  - {name: b, port: PORT, protocol: HTTPS, hostname: b.test, tls: {certificateRefs: [{name: b}]}}
"""
    gateway = GATEWAY.replace(" [{name: http, port: PORT, protocol: HTTP}]", listeners)
    async with edge_with(gateway + secrets) as edge:
        for name in ("a.test", "b.test"):
            context = ssl.create_default_context(cafile=str(tmp_path / f"{name}.crt"))
            async with httpx.AsyncClient(verify=context, timeout=TIMEOUT_SECONDS) as client:
                sni = {"sni_hostname": name}
                response = await client.get(f"https://127.0.0.1:{edge.port}/", headers={"host": name}, extensions=sni)
            assert response.status_code == 404


@pytest.mark.parametrize(("certified", "status"), [("localhost", 200), ("other.test", 503)])
async def test_a_tls_backend_is_resolved_and_verified_by_its_name(
    edge_with: Any, new_upstream: Any, tmp_path: Path, certified: str, status: int
) -> None:
    chain, key = make_certificate(tmp_path, certified)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    upstream = new_upstream("tls")
    port = await upstream.listen_tcp(context)
    text = GATEWAY + route("tls", f"  rules:\n  - backendRefs: [{backend_ref('tls', port)}]\n")
    text += backend("tls").replace("{endpoints: [{ip: 127.0.0.1}]}", "{protocol: tls, endpoints: [{fqdn: localhost}]}")
    async with edge_with(text, trusted_ca=str(chain)) as edge:
        assert (await edge.get("a.test/")).status_code == status
    upstream.kill()
