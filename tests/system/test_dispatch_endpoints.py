"""Endpoints: functions that answer HTTP requests through the real gateway."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from skerry.cli import endpoints
from skerry.kit.tls import no_trust
from skerry.testing.dispatch_client import DispatchClient
from skerry.testing.skerry_process import SkerryProcess

pytestmark = pytest.mark.system

ECHO = "def handle(context, payload): return {'input': payload, 'http': context['httpContext']}"
FAIL = """
def handle(context, payload):
    if payload.get("none"):
        return None
    raise ValueError("no such person") if payload.get("input") else RuntimeError("a detail of ours")
"""


@pytest.fixture(scope="module")
def dispatch(skerry: SkerryProcess) -> Iterator[DispatchClient]:
    with DispatchClient.of(skerry) as client:
        client.create_function("echo", ECHO)
        client.create_function("fails", FAIL)
        endpoint(client, "echo", "echo", uris=["/echo"])
        endpoint(client, "fails", "fails", uris=["/fails"])
        yield client


def endpoint(dispatch: DispatchClient, name: str, function: str, **more: Any) -> dict[str, Any]:
    created = dispatch.post("/v1/api", 200, name=name, function=function, **more)
    assert created["kind"] == "API"
    return dict(dispatch.until(f"/v1/api/{name}", lambda found: found["status"] == "READY"))


def ask(skerry: SkerryProcess, method: str, path: str, **more: Any) -> httpx.Response:
    return httpx.request(method, f"{skerry.http}{path}", timeout=60, trust_env=False, verify=no_trust(), **more)


@pytest.mark.usefixtures("dispatch")
def test_a_get_is_its_query_and_has_an_http_context(skerry: SkerryProcess) -> None:
    answer = ask(skerry, "GET", "/default/echo/deep?name=Jon&tag=a&tag=b", headers={"x-mine": "yes"})
    assert answer.status_code == 200, answer.text
    assert answer.json()["input"] == {"name": "Jon", "tag": ["a", "b"]}
    told = answer.json()["http"]
    assert (told["method"], told["uri"], told["scheme"], told["x-mine"]) == ("GET", "/default/echo/deep", "http", "yes")
    assert told["request"] == "GET /default/echo/deep?name=Jon&tag=a&tag=b HTTP/1.1"
    assert not [name for name in told if name.startswith(("x-skerry-", "x-envoy-"))]


def test_an_endpoint_tells_that_its_function_is_not_there_until_it_is(
    skerry: SkerryProcess, dispatch: DispatchClient
) -> None:
    endpoint(dispatch, "early", "late", uris=["/early"])
    told = dispatch.until("/v1/api/early", lambda found: found["reason"])
    assert (told["status"], told["reason"]) == ("READY", ["function late not found"])
    assert ask(skerry, "GET", "/default/early").status_code == 404
    dispatch.create_function("late", FAIL)
    assert dispatch.until("/v1/api/early", lambda found: not found["reason"])["status"] == "READY"


@pytest.mark.usefixtures("dispatch")
@pytest.mark.parametrize(
    ("sent", "payload"),
    [
        ({"json": {"name": "Jon"}}, {"name": "Jon"}),
        ({"content": b"[1]", "headers": {"content-type": "application/ld+json; charset=utf-8"}}, [1]),
        ({"data": {"name": "Jon", "tag": ["a", "b"]}}, {"name": "Jon", "tag": ["a", "b"]}),
        ({"files": {"file": ("x.txt", b"hello")}, "data": {"name": "Jon"}}, {"file": "hello", "name": "Jon"}),
        ({}, {}),
    ],
)
def test_json_and_forms_are_the_input(skerry: SkerryProcess, sent: dict[str, Any], payload: Any) -> None:
    answer = ask(skerry, "POST", "/default/echo", **sent)
    assert answer.status_code == 200, answer.text
    assert answer.json()["input"] == payload


@pytest.mark.usefixtures("dispatch")
@pytest.mark.parametrize(
    ("sent", "code", "told"),
    [
        ({"content": b"x", "headers": {"content-type": "text/csv"}}, 415, "body type is not supported: text/csv"),
        ({"content": b"{", "headers": {"content-type": "application/json"}}, 400, "request body is not json"),
        ({"content": b"{}", "headers": {"content-type": "multipart/form-data; boundary=x"}}, 400, "form can't be read"),
        ({"json": "x" * (1 << 20)}, 413, "limit is 1048576"),
    ],
)
def test_a_body_of_the_wrong_type_is_refused(skerry: SkerryProcess, sent: dict[str, Any], code: int, told: str) -> None:
    answer = ask(skerry, "POST", "/default/echo", **sent)
    assert (answer.status_code, answer.json()["code"]) == (code, code)
    assert told in answer.json()["message"]


@pytest.mark.usefixtures("dispatch")
def test_a_function_that_fails_is_no_empty_success_and_tells_nothing_of_its_own(skerry: SkerryProcess) -> None:
    refused = ask(skerry, "POST", "/default/fails", json={"input": True})
    assert (refused.status_code, refused.json()["message"]) == (422, "no such person")
    failed = ask(skerry, "POST", "/default/fails", json={})
    assert failed.status_code == 502
    assert "see run" in failed.json()["message"]
    assert "a detail" not in failed.text
    nothing = ask(skerry, "POST", "/default/fails", json={"none": True})
    assert (nothing.status_code, nothing.content) == (200, b"")


def test_a_call_without_waiting_is_a_run_on_disk(skerry: SkerryProcess, dispatch: DispatchClient) -> None:
    dispatch.create_function("later", ECHO)
    endpoint(dispatch, "later", "later", uris=["/later"])
    answer = ask(skerry, "POST", "/default/later", json={"n": 1}, headers={"x-dispatch-blocking": "false"})
    assert (answer.status_code, answer.content) == (200, b"")
    (run,) = dispatch.finished("later")
    assert run["output"]["input"] == {"n": 1}


def test_a_path_may_have_escapes(skerry: SkerryProcess, dispatch: DispatchClient) -> None:
    endpoint(dispatch, "escaped", "echo", uris=["/caf%C3%A9/a%2Fb"])
    answer = ask(skerry, "GET", "/default/caf%C3%A9/a%2Fb/deep")
    assert (answer.status_code, answer.json()["http"]["uri"]) == (200, "/default/caf%C3%A9/a%2Fb/deep"), answer.text


def test_methods_hosts_protocols_and_what_is_off_are_obeyed(skerry: SkerryProcess, dispatch: DispatchClient) -> None:
    endpoint(dispatch, "reads", "echo", uris=["/thing"], methods=["GET"])
    endpoint(dispatch, "writes", "fails", uris=["/thing"], methods=["POST"])
    endpoint(dispatch, "elsewhere", "echo", uris=["/hosted"], hosts=["*.shop.example"])
    endpoint(dispatch, "secure", "echo", uris=["/secure"], protocols=["https"])
    endpoint(dispatch, "off", "echo", uris=["/off"], enabled=False)
    assert ask(skerry, "GET", "/default/thing").status_code == 200
    assert ask(skerry, "POST", "/default/thing", json={"none": True}).content == b""
    missing = ask(skerry, "DELETE", "/default/thing")
    assert (missing.status_code, missing.json()["message"]) == (404, "no API found with those values")
    assert ask(skerry, "GET", "/default/hosted").status_code == 404
    assert ask(skerry, "GET", "/default/hosted", headers={"host": "a.shop.example"}).status_code == 200
    insecure = ask(skerry, "GET", "/default/secure")
    assert (insecure.status_code, insecure.json()["message"]) == (400, "Please use HTTPS protocol")
    assert ask(skerry, "GET", "/default/off").status_code == 404


def test_cors_is_for_those_that_ask_for_it(skerry: SkerryProcess, dispatch: DispatchClient) -> None:
    endpoint(dispatch, "open", "echo", uris=["/open"], methods=["POST"], cors=True)
    preflight = ask(skerry, "OPTIONS", "/default/open")
    assert (preflight.status_code, preflight.headers["access-control-allow-origin"]) == (200, "*")
    assert preflight.headers["access-control-allow-methods"] == "POST"
    assert "access-control-allow-origin" not in ask(skerry, "GET", "/default/echo").headers


def test_endpoints_are_listed_moved_and_removed(skerry: SkerryProcess, dispatch: DispatchClient) -> None:
    made = endpoint(dispatch, "moved", "later", uris=["/before"])
    assert made["urls"][0].endswith("/default/before")
    listed = dispatch.http.get("/v1/endpoint", params={"function": "later"}).json()
    assert "moved" in {each["name"] for each in listed}
    body = {"name": "moved", "function": "echo", "uris": ["/after"]}
    assert dispatch.http.put("/v1/api/moved", json=body).json()["status"] == "UPDATING"
    dispatch.until("/v1/api/moved", lambda found: str(found["urls"]).endswith("/default/after']"))
    assert ask(skerry, "GET", "/default/after").status_code == 200
    assert "READY" in skerry.kubectl("get", "endpoints.dispatch.skerry.dev", "moved")
    assert dispatch.http.delete("/v1/api/moved").json()["status"] == "DELETING"
    assert dispatch.http.get("/v1/api/moved").json() == {"code": 404, "message": "API moved not found"}


def test_the_shop_of_the_examples_ships_what_it_is_told_to(
    skerry: SkerryProcess, dispatch: DispatchClient, repository: Path
) -> None:
    skerry.kubectl("apply", "-f", str(repository / "examples/events/shop.yaml"))
    for path in ("function/ship", "serviceinstance/carrier", "api/orders"):
        dispatch.until(f"/v1/{path}", lambda found: found["status"] == "READY")
    shipped = {"shipped": "boots", "by": "Raven Post"}
    assert ask(skerry, "POST", "/default/orders", data={"item": "boots"}).json() == shipped
    printed = skerry.skerry("event", "emit", "order.placed", "--data", '{"item": "boots"}')
    run = printed.splitlines()[1].removeprefix("run ")
    assert dispatch.until(f"/v1/runs/{run}", lambda found: found["status"] == "READY")["output"] == shipped


@pytest.mark.usefixtures("dispatch")
def test_the_command_makes_an_endpoint_and_prints_where_it_answers(skerry: SkerryProcess) -> None:
    printed = skerry.skerry("endpoint", "create", "by-command", "echo", "--path", "/by-command", "--method", "post")
    assert printed == f"Created endpoint: by-command\n{skerry.http}/default/by-command\n"
    assert ask(skerry, "POST", "/default/by-command", json=1).json()["input"] == 1
    assert "by-command" in skerry.skerry("endpoint", "list")
    assert "Deleted endpoint: by-command" in skerry.skerry("endpoint", "delete", "by-command")


def test_the_command_notes_a_function_that_is_not_there_yet(
    skerry: SkerryProcess, dispatch: DispatchClient, capsys: pytest.CaptureFixture[str]
) -> None:
    kubeconfig = skerry.data_dir / "kubeconfig"
    for function in ("echo", "absent"):
        endpoints.create(f"to-{function}", function, path=[f"/to-{function}"], kubeconfig=kubeconfig)
        dispatch.http.delete(f"/v1/api/to-{function}").raise_for_status()
    assert capsys.readouterr().err == "note: there is no function absent in namespace default yet\n"


@pytest.mark.parametrize(
    ("body", "code", "told"),
    [
        ({"name": "x"}, 602, "function in body is required"),
        ({"name": "x", "function": "f", "uris": ["no-slash"]}, 400, "spec.uris[0]"),
        ({"name": "x", "function": "f", "methods": ["get"]}, 400, "spec.methods[0]"),
        ({"name": "x", "function": "f", "hosts": ["a b"]}, 400, "spec.hosts[0]"),
        ({"name": "x", "function": "f", "authentication": "oauth2"}, 400, "RequestAuthentication"),
        ({"name": "x", "function": "f", "tls": "cert"}, 400, "certificates are those of the Gateway"),
    ],
)
def test_an_endpoint_that_is_none_is_refused(
    dispatch: DispatchClient, body: dict[str, Any], code: int, told: str
) -> None:
    answer = dispatch.http.post("/v1/api", json=body)
    assert answer.json()["code"] == code
    assert told in answer.json()["message"]
    assert dispatch.http.get("/v1/api/x").status_code == 404
