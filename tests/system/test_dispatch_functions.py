"""Functions with typed input and output, end to end, as Dispatch's own end-to-end tests drive them."""

import base64
import hashlib
import io
import json
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from wasmtime import wat2wasm

from skerry.cli.packing import packed as packed_folder
from skerry.testing import waiting
from skerry.testing.described import Described
from skerry.testing.skerry_process import SkerryProcess

pytestmark = pytest.mark.system

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "functions"
WASM = ROOT / "tests" / "wasm" / "functions"
SOURCE = """
import os, sys, time

def hello(context, payload):
    print("hello", payload["name"], flush=True)
    return {"myField": f"Hello, {payload['name']} from {payload['place']}"}

def echo(context, payload):
    return payload

def context(context, payload):
    return context

def refuse(context, payload):
    raise ValueError("no such person")

def fail(context, payload):
    raise RuntimeError("it broke")

def die(context, payload):
    os._exit(7)

def slow(context, payload):
    print("begun", flush=True)
    time.sleep(payload)
    return payload

def fails_once(context, payload):
    if not os.path.exists(payload):
        open(payload, "w").close()
        raise RuntimeError("the first time")
    return "the second time"
"""
NAMES = {"type": "object", "required": ["name", "place"], "properties": {"name": {"type": "string"}}}
#: Of a function that is called all the time.
UPDATES = 4
WAIT = {"prefer": "wait=50"}


@pytest.fixture(scope="module")
def http(skerry: SkerryProcess) -> Iterator[httpx.Client]:
    with skerry.api_client() as client:
        client.headers["x-dispatch-org"] = "default"
        Described.watch(client)
        yield client


def test_the_api_describes_itself_to_anybody(skerry: SkerryProcess) -> None:
    with skerry.api_client() as anybody:
        del anybody.headers["authorization"]
        document = anybody.get("/v1/openapi.json")
        assert (document.status_code, document.json()["openapi"]) == (200, "3.1.0")
        page = anybody.get("/docs")
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert "/v1/runs/{name}/logs" in page.text
        assert anybody.get("/v1/runs").status_code == 401


def packed(**files: str) -> str:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return base64.b64encode(data.getvalue()).decode()


def create(http: httpx.Client, name: str, handler: str = "", **more: Any) -> dict[str, Any]:
    body = {"name": name, "image": "python3", "handler": handler or f"f.{name}", "source": packed(**{"f.py": SOURCE})}
    answer = http.post("/v1/function", json=body | more)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def execute(http: httpx.Client, name: str, payload: Any = None, **more: Any) -> dict[str, Any]:
    body = {"blocking": True, "input": payload, **more}
    answer = http.post("/v1/runs", params={"functionName": name}, json=body, headers=WAIT)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def until(http: httpx.Client, path: str, *states: str) -> dict[str, Any]:
    """Wait until what lies at a path is in one of some states."""

    def found() -> Any:
        document = http.get(path).json()
        return document if document["status"] in states else None

    return dict(waiting.until(found, f"{path} is {' or '.join(states)}"))


def test_hello_with_schemas_answers_and_bad_input_and_output_are_told(http: httpx.Client) -> None:
    created = create(http, "hello", schema={"in": NAMES, "out": {"required": ["myField"]}})
    assert created["status"] == "INITIALIZED"
    run = execute(http, "hello", {"name": "Jon", "place": "Winterfell"})
    assert (run["status"], run["output"]) == ("READY", {"myField": "Hello, Jon from Winterfell"})
    assert run["logs"] == {"stdout": ["hello Jon"], "stderr": None}
    assert run["finishedTime"] >= run["executedTime"] > 0
    refused = execute(http, "hello", {"place": "Winterfell"})
    assert refused["status"] == "ERROR"
    assert refused["error"]["type"] == "InputError"
    assert refused["error"]["message"].endswith("validation failure list:\n.name in body is required")
    assert refused["reason"] == [f"error running function: hello: {refused['error']['message']}"]
    create(http, "echo", schema={"out": {"required": ["myField"]}})
    assert execute(http, "echo", {})["error"]["type"] == "FunctionError"


def test_hello_in_javascript_answers_and_who_is_to_blame_is_told(http: httpx.Client) -> None:
    source = """
    module.exports = function (context, payload) {
      console.log("hello", payload.name);
      if (payload.name === "nobody") throw new TypeError("no such person");
      if (payload.name === "all") throw new Error("it broke");
      return { myField: `Hello, ${payload.name} from ${payload.place}` };
    };
    """
    more = {"image": "nodejs", "handler": "./hello.js", "source": packed(**{"hello.js": source})}
    create(http, "hello-js", **more, schema={"in": NAMES, "out": {"required": ["myField"]}})
    run = execute(http, "hello-js", {"name": "Jon", "place": "Winterfell"})
    assert (run["status"], run["output"]) == ("READY", {"myField": "Hello, Jon from Winterfell"})
    assert run["logs"] == {"stdout": ["hello Jon"], "stderr": None}
    blamed = [execute(http, "hello-js", payload)["error"] for payload in ({}, {"name": "nobody", "place": ""})]
    assert [error["type"] for error in blamed] == ["InputError", "InputError"]
    broke = execute(http, "hello-js", {"name": "all", "place": ""})["error"]
    assert (broke["type"], broke["message"]) == ("FunctionError", "it broke")
    assert "hello.js:5:" in broke["stacktrace"][1]


def test_the_image_of_node_runs_what_the_engine_does_not(http: httpx.Client) -> None:
    source = """
    const { createHash } = require("node:crypto");
    module.exports = (context, payload) => {
      console.log("hashing");
      return [createHash("sha256").update(payload).digest("hex"), typeof process.versions.v8];
    };
    """
    create(http, "on-node", image="nodejs-node", handler="./f.js", source=packed(**{"f.js": source}))
    run = execute(http, "on-node", "Jon")
    assert (run["status"], run["output"]) == ("READY", [hashlib.sha256(b"Jon").hexdigest(), "string"])
    assert run["logs"]["stdout"] == ["hashing"]


def test_a_wasm_program_reads_a_message_and_writes_one(http: httpx.Client) -> None:
    wasm = wat2wasm((WASM / "echo-command.wat").read_text())
    create(http, "program", image="wasm", source=base64.b64encode(wasm).decode(), schema={"in": NAMES})
    run = execute(http, "program", {"name": "Jon", "place": "Winterfell"})
    assert (run["status"], run["output"]) == ("READY", {"name": "Jon", "place": "Winterfell"})
    assert run["logs"] == {"stdout": None, "stderr": ["said by the program"]}
    assert execute(http, "program", {"name": "Jon"})["error"]["type"] == "InputError"


def test_any_json_comes_back_as_it_went_in(http: httpx.Client) -> None:
    create(http, "same", "f.echo")
    payloads: tuple[Any, ...] = ({"a": None, "b": [None, {}, 1.5, "é"]}, [], "", 0, False, 2**53)
    for payload in payloads:
        assert execute(http, "same", payload)["output"] == payload
    assert "output" not in execute(http, "same", None)


@pytest.mark.parametrize(
    ("name", "kind", "strict"),
    [("refuse", "InputError", 422), ("fail", "FunctionError", 502), ("die", "SystemError", 500)],
)
def test_who_is_to_blame_is_told_and_the_next_run_works(http: httpx.Client, name: str, kind: str, strict: int) -> None:
    create(http, name)
    for _ in range(2):
        run = execute(http, name)
        assert (run["status"], run["error"]["type"]) == ("ERROR", kind)
    answer = http.post(
        "/v1/runs", params={"functionName": name}, json={"blocking": True}, headers={"prefer": "status=strict"}
    )
    assert answer.status_code == strict
    if name == "fail":
        assert run["error"]["stacktrace"][-1] == "RuntimeError: it broke"


def test_a_run_that_takes_too_long_is_ended(http: httpx.Client) -> None:
    for milliseconds in (300, 3_000, 20_000):  # more of it, where a busy machine has not come to the print
        create(http, f"impatient-{milliseconds}", "f.slow", timeout=milliseconds)
        run = execute(http, f"impatient-{milliseconds}", 3600)
        assert run["error"]["message"] == "Function execution exceeded the timeout"
        if run["logs"]["stdout"]:
            break
    assert run["logs"]["stdout"] == ["begun"]


def test_secrets_of_function_and_run_are_injected_and_a_missing_one_is_told(
    skerry: SkerryProcess, http: httpx.Client
) -> None:
    assert http.post("/v1/secret", json={"name": "open", "secrets": {"word": "sesame"}}).status_code == 201
    skerry.kubectl("create", "secret", "generic", "closed", "--from-literal=key=mellon")
    create(http, "context", secrets=["open"])
    run = execute(http, "context", secrets=["closed"], httpContext={"method": "GET"})
    assert run["output"] == {
        "secrets": {"word": "sesame", "key": "mellon"},
        "serviceBindings": {},
        "httpContext": {"method": "GET"},
        "traceparent": run["traceparent"],
    }
    assert run["secrets"] == ["open", "closed"]
    missing = execute(http, "context", secrets=["nowhere"])
    assert missing["error"]["type"] == "InputError"
    assert "secret nowhere not found" in missing["error"]["message"]


def test_values_of_secrets_are_shown_to_who_asks_for_them(http: httpx.Client) -> None:
    http.post("/v1/secret", json={"name": "shown", "secrets": {"word": "sesame"}})
    assert http.get("/v1/secret/shown").json()["secrets"] == {"word": "<hidden>"}
    assert http.get("/v1/secret/shown", params={"values": "true"}).json()["secrets"] == {"word": "sesame"}
    assert http.put("/v1/secret/shown", json={"name": "shown", "secrets": {"other": "x"}}).status_code == 201
    assert http.get("/v1/secret/shown").json()["secrets"] == {"other": "<hidden>"}
    assert http.delete("/v1/secret/shown").status_code == 204
    assert http.get("/v1/secret/shown").json() == {"code": 404, "message": "secret shown not found"}


def test_the_command_stores_a_secret_and_shows_no_value(skerry: SkerryProcess, tmp_path: Path) -> None:
    file = tmp_path / "values.json"
    file.write_text('{"word": "sesame"}')
    assert skerry.skerry("secret", "create", "by-command", str(file)) == "Created secret: by-command\n"
    assert "already exists" in skerry.skerry("secret", "create", "by-command", str(file), fails=True)
    file.write_text('{"other": "mellon"}')
    assert skerry.skerry("secret", "create", "by-command", str(file), "--update") == "Updated secret: by-command\n"
    shown = skerry.skerry("secret", "get", "by-command")
    assert '"other": "<hidden>"' in shown
    assert "by-command" in skerry.skerry("secret", "list")
    file.write_text('{"number": 1}')
    assert "must be a JSON object of texts" in skerry.skerry("secret", "create", "x", str(file), fails=True)
    assert "Deleted secret: by-command" in skerry.skerry("secret", "delete", "by-command")


def test_runs_at_once_keep_what_they_print_apart(http: httpx.Client) -> None:
    create(http, "many", "f.hello")
    until(http, "/v1/function/many", "READY")
    names = [
        http.post("/v1/runs", params={"functionName": "many"}, json={"input": {"name": str(i), "place": "x"}}).json()[
            "name"
        ]
        for i in range(50)
    ]
    for number, name in enumerate(names):
        assert until(http, f"/v1/runs/{name}", "READY", "ERROR")["logs"]["stdout"] == [f"hello {number}"]


def test_an_update_serves_until_it_is_deployed_and_one_that_fails_leaves_the_old(http: httpx.Client) -> None:
    create(http, "changing", "f.echo")
    before = until(http, "/v1/function/changing", "READY")
    body = {"name": "changing", "image": "python3", "handler": "f.nothing", "source": packed(**{"f.py": SOURCE})}
    assert http.put("/v1/function/changing", json=body).json()["status"] == "UPDATING"

    def failed() -> Any:
        assert execute(http, "changing", 1)["output"] == 1
        document = http.get("/v1/function/changing").json()
        return document if document["reason"] else None

    told = waiting.until(failed, "the update has failed")
    assert "has no attribute 'nothing'" in told["reason"][0]
    assert (told["status"], told["faasId"]) == ("READY", before["faasId"])
    assert http.put("/v1/function/changing", json=body | {"handler": "f.context"}).status_code == 200
    waiting.until(lambda: http.get("/v1/function/changing").json()["faasId"] != before["faasId"])
    run = execute(http, "changing", 1)
    assert run["output"] == {"secrets": {}, "serviceBindings": {}, "traceparent": run["traceparent"]}
    assert http.get("/v1/function/changing").json()["reason"] is None


def test_a_missing_handler_ends_in_error_with_one_reason(http: httpx.Client) -> None:
    create(http, "broken", "f.missing")
    broken = until(http, "/v1/function/broken", "ERROR")
    assert len(broken["reason"]) == 1
    answer = http.post("/v1/runs", params={"functionName": "broken"}, json={})
    assert (answer.status_code, answer.json()["message"]) == (404, "function broken is not READY")


def test_a_delete_takes_the_runs_along(http: httpx.Client) -> None:
    create(http, "leaving", "f.echo")
    execute(http, "leaving", 1)
    assert http.delete("/v1/function/leaving").json()["status"] == "DELETING"
    waiting.until(lambda: http.get("/v1/runs", params={"functionName": "leaving"}).json() == [])
    assert http.get("/v1/function/leaving").json() == {"code": 404, "message": "function leaving not found"}


def test_a_run_can_be_cancelled_and_a_finished_one_removed(http: httpx.Client) -> None:
    create(http, "slow")
    until(http, "/v1/function/slow", "READY")
    name = http.post("/v1/runs", params={"functionName": "slow"}, json={"input": 60}).json()["name"]
    until(http, f"/v1/runs/{name}", "CREATING")
    assert http.delete(f"/v1/runs/{name}").status_code == 202
    ended = until(http, f"/v1/runs/{name}", "ERROR")
    assert (ended["error"]["type"], ended["error"]["message"]) == ("SystemError", "the run was cancelled")
    assert http.delete(f"/v1/runs/{name}").status_code == 200
    assert http.get(f"/v1/runs/{name}").json() == {"code": 404, "message": "function run  not found"}


def test_a_run_that_fails_is_tried_again_as_often_as_it_says(http: httpx.Client, tmp_path: Path) -> None:
    create(http, "again", "f.fails_once")
    until(http, "/v1/function/again", "READY")
    body = {"input": str(tmp_path / "mark"), "retries": 1, "backoff": "0s"}
    name = http.post("/v1/runs", params={"functionName": "again"}, json=body).json()["name"]
    ended = until(http, f"/v1/runs/{name}", "READY", "ERROR")
    assert (ended["status"], ended["output"], ended["attempts"]) == ("READY", "the second time", 2)


def test_an_idempotency_key_stands_for_one_run(http: httpx.Client) -> None:
    create(http, "once", "f.echo")
    until(http, "/v1/function/once", "READY")
    ask = {"params": {"functionName": "once"}, "json": {"input": 1}, "headers": {"idempotency-key": "k"}}
    first, second = (http.post("/v1/runs", **ask).json()["name"] for _ in range(2))  # type: ignore[arg-type]
    assert first == second
    assert len(http.get("/v1/runs", params={"functionName": "once"}).json()) == 1


@pytest.mark.parametrize(
    ("body", "code", "number", "message"),
    [
        ({}, 422, 602, "name in body is required"),
        ({"name": "x"}, 422, 602, "image in body is required"),
        ({"name": "-x", "image": "python3"}, 422, 605, "name should start with letter or number"),
        ({"name": "x", "image": "python3"}, 400, 400, "either source or sourceURL must be specified"),
        ({"name": "x", "image": "python3", "source": "%"}, 400, 400, "base64"),
        (
            {"name": "x", "image": "python3", "source": "YQ==", "schema": {"in": {"type": "strin"}}},
            400,
            400,
            "could not decode schema.in: type",
        ),
        ({"name": "x", "image": 1}, 422, 601, "image in body"),
    ],
)
def test_a_function_that_is_none_is_refused(
    http: httpx.Client, body: dict[str, Any], code: int, number: int, message: str
) -> None:
    answer = http.post("/v1/function", json=body)
    assert (answer.status_code, answer.json()["code"]) == (code, number)
    assert message in answer.json()["message"]
    assert http.get("/v1/function/x").status_code == 404


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"image": "cobol"}, "image cobol not found"),
        ({"handler": "nodot"}, "not of the form module.function"),
        ({"source": packed(**{"../f.py": SOURCE})}, "outside"),
    ],
)
def test_what_only_the_deployment_finds_out_is_the_functions_reason(
    http: httpx.Client, body: dict[str, Any], told: str
) -> None:
    name = f"bad-{abs(hash(told))}"
    create(http, name, **{"handler": "f.echo", **body})
    assert told in until(http, f"/v1/function/{name}", "ERROR")["reason"][0]


def test_what_is_wrong_with_a_request_for_a_run_is_told(http: httpx.Client) -> None:
    create(http, "asked", "f.echo")
    until(http, "/v1/function/asked", "READY")

    def said(answer: httpx.Response) -> tuple[int, str]:
        return answer.status_code, answer.json()["message"]

    asked = {"functionName": "asked"}
    assert said(http.post("/v1/runs", json={})) == (400, "Bad Request: No function specified")
    assert said(http.post("/v1/runs", params=asked)) == (400, "Bad Request: Invalid Payload")
    assert said(http.post("/v1/runs", params={"functionName": "none"}, json={})) == (404, "function none not found")
    assert http.post("/v1/runs", params=asked, content=b"{").status_code == 400
    assert http.post("/v1/runs", params=asked, json={"input": "x" * (10 << 20)}).status_code == 400
    assert http.post("/v1/runs", params=asked, json={"input": "x" * (40 << 20)}).status_code == 413
    assert said(http.post("/v1/runs", params=asked, json={"retries": -1}))[0] == 422
    assert said(http.post("/v1/runs", params=asked, json={"blocking": "yes"}))[0] == 422
    assert http.get("/v1/runs", params=asked).json() == [], "what is refused leaves nothing behind"
    assert http.get("/v1/runs/not-a-uuid").json()["code"] == 601
    assert said(http.get("/v1/runs", params={"tags": "x"})) == (400, "error parsing tag 'x': invalid format")
    assert said(http.get("/v1/runs", params={"tags": "k=v"})) == (400, "error parsing tag 'k=v': key 'k' not exist")
    assert http.patch("/v1/runs").status_code == 405
    assert said(http.get("/v1/runs", headers={"x-dispatch-org": ""})) == (422, "X-Dispatch-Org in header is required")


def test_the_command_does_what_the_front_page_says(skerry: SkerryProcess) -> None:
    def files(*names: str) -> list[str]:
        return [str(EXAMPLE / name) for name in names]

    source, schema_in, schema_out = files("hello.py", "in.json", "out.json")
    flags = ("--image", "python3", "--schema-in", schema_in, "--schema-out", schema_out)
    assert "Created function: greeter" in skerry.skerry("function", "create", "greeter", source, *flags)
    payload = '{"name": "Jon", "place": "Winterfell"}'
    run = json.loads(skerry.skerry("function", "exec", "greeter", "--wait", "--input", payload))
    assert run["output"] == {"greeting": "Hello, Jon from Winterfell"}
    assert run["name"] in skerry.skerry("function", "runs", "greeter")
    assert "greeting Jon" in skerry.skerry("function", "logs", run["name"])
    assert "InputError" in skerry.skerry("function", "exec", "greeter", "--wait", fails=True)
    assert "READY" in skerry.kubectl("get", "functions.dispatch.skerry.dev", "greeter")
    assert "InputError" in skerry.kubectl("get", "runs.dispatch.skerry.dev")
    assert json.loads(skerry.skerry("function", "get", "greeter"))["status"] == "READY"
    told = skerry.skerry("function", "create", "greeter", source, fails=True)
    assert "function greeter already exists; --update replaces it" in told
    assert "Updated function" in skerry.skerry("function", "create", "greeter", source, "--update")
    assert "Deleted function: greeter" in skerry.skerry("function", "delete", "greeter")


KINDS = {
    *("functions", "runs", "images", "baseimages", "serviceclasses", "serviceinstances", "subscriptions"),
    *("eventdrivers", "endpoints"),
}


def test_kubectl_makes_functions_and_runs_too(skerry: SkerryProcess) -> None:
    function = """
apiVersion: dispatch.skerry.dev/v1
kind: Function
metadata: {name: applied, namespace: default}
spec:
  image: python3
  source: {text: "def handle(context, payload): return payload * 2"}
"""
    run = """
apiVersion: dispatch.skerry.dev/v1
kind: Run
metadata: {name: 5d3a9a3c-7d39-4d0f-a1ad-b1d5e9f0f6d1, namespace: default}
spec: {functionName: applied, input: 21}
"""
    skerry.apply(function)
    skerry.kubectl("wait", "--for=condition=Ready", "functions.dispatch.skerry.dev/applied", "--timeout=80s")
    skerry.apply(run)
    name = "runs.dispatch.skerry.dev/5d3a9a3c-7d39-4d0f-a1ad-b1d5e9f0f6d1"
    skerry.kubectl("wait", "--for=jsonpath={.status.state}=READY", name, "--timeout=80s")
    assert skerry.kubectl("get", name, "-o", "jsonpath={.status.output}") == "42"
    kinds = skerry.kubectl("api-resources", "--api-group=dispatch.skerry.dev", "-o", "name").split()
    assert {kind.partition(".")[0] for kind in kinds} >= KINDS
    skerry.kubectl("delete", "functions.dispatch.skerry.dev/applied")
    skerry.kubectl("wait", "--for=delete", name, "--timeout=60s")


def multiplied_by(factor: int) -> str:
    return f"""
apiVersion: dispatch.skerry.dev/v1
kind: Function
metadata: {{name: multiplied, namespace: default}}
spec:
  image: python3
  source: {{text: "def handle(context, payload): return payload * {factor}"}}
"""


def test_an_update_by_manifest_lets_no_run_fail(skerry: SkerryProcess, http: httpx.Client) -> None:
    skerry.apply(multiplied_by(1))
    until(http, "/v1/function/multiplied", "READY")
    updated = threading.Event()

    def go_on_asking(*, blocking: bool) -> list[dict[str, Any]]:
        ended = []
        while not updated.is_set():
            body = {"blocking": blocking, "input": 1}
            asked = http.post("/v1/runs", params={"functionName": "multiplied"}, json=body)
            assert asked.status_code == (200 if blocking else 202), asked.text
            ended.append(until(http, f"/v1/runs/{asked.json()['name']}", "READY", "ERROR"))
        return ended

    with ThreadPoolExecutor(4) as callers:
        asking = [callers.submit(go_on_asking, blocking=blocking) for blocking in (True, True, False, False)]
        try:
            for factor in range(2, UPDATES + 2):
                skerry.apply(multiplied_by(factor))
                waiting.until(lambda: execute(http, "multiplied", 1)["output"] == factor)  # noqa: B023 - now
        finally:
            updated.set()
        runs = [run for caller in asking for run in caller.result()]
    assert [run["error"] for run in runs if run["status"] == "ERROR"] == []
    assert runs
    assert {run["output"] for run in runs} <= set(range(1, UPDATES + 2))


# Images and base images.

SIGIL_SOURCE = "from sigil import NAME\ndef handle(context, payload):\n    return NAME\n"


def wheel(folder: Path, text: str) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / "sigil-1-py3-none-any.whl", "w") as archive:
        archive.writestr("sigil.py", text)
        archive.writestr("sigil-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: sigil\nVersion: 1\n")
        archive.writestr("sigil-1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("sigil-1.dist-info/RECORD", "sigil.py,,\n")
    return f"{folder}/sigil-1-py3-none-any.whl\n"


def ask_now(http: httpx.Client, name: str) -> Any:
    answer = http.post(
        "/v1/runs", params={"functionName": name}, json={"blocking": True}, headers={"prefer": "wait=50"}
    )
    assert answer.status_code == 200, answer.text
    return answer.json().get("output")


def test_a_function_has_the_packages_of_its_image_and_those_of_an_update(
    skerry: SkerryProcess, http: httpx.Client, tmp_path: Path
) -> None:
    manifest = tmp_path / "requirements.txt"
    manifest.write_text(wheel(tmp_path / "1", "NAME = 'direwolf'"))
    made = skerry.skerry("base-image", "create", "base", "r/python3:1", "-l", "python3")
    assert made == "Created base image: base\n"
    made = skerry.skerry("image", "create", "web", "base", "--runtime-deps", str(manifest))
    assert made == "Created image: web\n"
    body = {"name": "packaged", "image": "web", "code": SIGIL_SOURCE, "main": "handle"}
    assert http.post("/v1/function", json=body).status_code == 201
    assert ask_now(http, "packaged") == "direwolf"
    image = http.get("/v1/image/web").json()
    assert image["dockerUrl"].startswith("python3@sha256:")
    assert (image["language"], image["status"], image["baseImageName"]) == ("python3", "READY", "base")
    columns = skerry.kubectl("get", "images.dispatch.skerry.dev", "web").split()
    assert {"URL", "BASEIMAGE", "STATUS", "web", "base", "READY"} <= set(columns)
    change = {"name": "web", "baseImageName": "base"}
    newer = {"runtimeDependencies": {"manifest": wheel(tmp_path / "2", "NAME = 'lion'")}}
    assert http.put("/v1/image/web", json=change | newer).json()["status"] == "UPDATING"

    def updated() -> bool:
        seen = ask_now(http, "packaged")
        assert seen in {"direwolf", "lion"}, "the old deployment serves until the new one does"
        return bool(seen == "lion")

    waiting.until(updated)
    manifest.write_text("./no-such-package.whl\n")
    told = skerry.skerry("image", "create", "web", "base", "--runtime-deps", str(manifest), "--update", fails=True)
    assert "could not be installed" in told
    assert ask_now(http, "packaged") == "lion"
    assert http.delete("/v1/image/web").status_code == 200
    assert ask_now(http, "packaged") == "lion"


def test_the_api_answers_as_dispatch_does(http: httpx.Client) -> None:
    base = {"name": "b", "dockerUrl": "r/b:1", "language": "nodejs", "tags": [{"key": "Application", "value": "shop"}]}
    created = http.post("/v1/baseimage", json=base)
    assert (created.status_code, created.json()["status"], created.json()["kind"]) == (201, "INITIALIZED", "BaseImage")
    again = http.post("/v1/baseimage", json=base)
    assert (again.status_code, again.json()) == (409, {"code": 409, "message": "base image b already exists"})
    assert until(http, "/v1/baseimage/b", "READY")["dockerUrl"] == "r/b:1"
    image = http.post("/v1/image", json={"name": "i", "baseImageName": "b"})
    assert (image.status_code, image.json()["language"], image.json()["kind"]) == (201, "nodejs", "Image")
    assert until(http, "/v1/image/i", "READY")["dockerUrl"] == "nodejs"
    assert [each["name"] for each in http.get("/v1/image?language=nodejs").json()] == ["i"]
    assert http.get("/v1/image?language=java").json() == []
    assert [each["name"] for each in http.get("/v1/baseimage?tags=Application=shop").json()] == ["b"]
    assert http.get("/v1/baseimage?tags=shop").status_code == 400
    replaced = http.put("/v1/baseimage/b", json=base | {"language": "cobol"})
    assert (replaced.status_code, replaced.json()["status"]) == (200, "UPDATING")
    for path in ("/v1/image/i", "/v1/baseimage/b"):
        deleted = http.delete(path)
        assert (deleted.status_code, deleted.json()["status"]) == (200, "DELETING")


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("/v1/image", {"name": "x", "baseImageName": "none"}, 400, "Error fetching base image none"),
        ("/v1/image", {"name": "x"}, 422, "baseImageName in body is required"),
        ("/v1/baseimage", {"name": "x", "language": "python3"}, 422, "dockerUrl in body is required"),
        ("/v1/baseimage", {"name": "x", "dockerUrl": "r/x"}, 422, "language in body is required"),
        ("/v1/baseimage", {"name": "-x", "dockerUrl": "r/x", "language": "a"}, 422, "name should start with letter"),
        ("/v1/baseimage", {"name": "x", "dockerUrl": "r/x\nRUN y", "language": "a"}, 400, "spec.dockerUrl"),
    ],
    ids=["no-base", "no-base-name", "no-url", "no-language", "name", "url"],
)
def test_bad_images_are_refused_and_nothing_is_stored(
    http: httpx.Client, path: str, body: dict[str, str], status: int, message: str
) -> None:
    answer = http.post(path, json=body)
    assert (answer.status_code, message in answer.json()["message"]) == (status, True), answer.text
    assert http.get(f"{path}/x").status_code == 404


def test_what_is_not_there_is_named_as_dispatch_names_it(http: httpx.Client) -> None:
    assert http.get("/v1/image/none").json() == {"code": 404, "message": "image none not found"}
    assert http.delete("/v1/baseimage/none").json() == {"code": 404, "message": "base image none not found"}


def test_a_source_that_was_uploaded_is_named_by_its_digest(http: httpx.Client, tmp_path: Path) -> None:
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "f.py").write_text("def handle(context, payload):\n    return 1\n")
    archive = packed_folder(tmp_path / "f")
    body = {"name": "uploaded", "image": "python3", "handler": "f.handle"}
    source = {"source": base64.b64encode(archive).decode()}
    assert http.post("/v1/function", json=body | source).status_code == 201
    url = f"es://{hashlib.sha256(archive).hexdigest()}"
    assert http.post("/v1/function", json=body | {"name": "by-digest", "sourceURL": url}).status_code == 201
    assert ask_now(http, "by-digest") == 1
    refused = http.post("/v1/function", json=body | {"name": "by-url", "sourceURL": "https://example.com/f.tgz"})
    assert refused.status_code == 400
    assert refused.json()["message"].startswith("Received non-supported source url https://example.com/f.tgz")
    neither = http.post("/v1/function", json=body | {"name": "by-url"})
    assert neither.json()["message"] == "either source or sourceURL must be specified"


def test_an_archive_that_leads_out_of_its_folder_is_told_and_the_function_is_not_run(http: httpx.Client) -> None:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        archive.addfile(tarfile.TarInfo("../f.py"))
    body = {"name": "outside", "image": "python3", "source": base64.b64encode(content.getvalue()).decode()}
    assert http.post("/v1/function", json=body).status_code == 201
    assert "outside" in json.dumps(until(http, "/v1/function/outside", "ERROR")["reason"])
