"""WasmPlugins through the whole of Skerry: kubectl, the agent, a real Envoy, and what statuses tell."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from skerry.testing.load import Load
from skerry.testing.plugins import built
from skerry.testing.skerry_process import ANY_FILE, SkerryProcess
from skerry.testing.waiting import SECONDS_MAX, until

URL = "http://f.plugins.test/"
ROUTE = """
apiVersion: extensions.apoxy.dev/v1alpha2
kind: DirectResponse
metadata: {name: hello}
spec: {statusCode: 200, body: {inline: hello}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: plugins, namespace: default}
spec:
  parentRefs: [{name: default}]
  hostnames: [f.plugins.test]
  rules:
    - filters: [{type: ExtensionRef, extensionRef: {group: extensions.apoxy.dev, kind: DirectResponse, name: hello}}]
"""


@pytest.fixture(scope="module")
def gateway(skerry: SkerryProcess) -> SkerryProcess:
    """A Skerry that answers at `URL`."""
    skerry.apply(ROUTE)
    until(lambda: skerry.get(URL).status_code == 200, f"{URL} answers")
    return skerry


@pytest.fixture(scope="module")
def probe(repository: Path) -> Path:
    return built(repository, "probe")


@pytest.fixture(scope="module")
def sentry(repository: Path) -> Path:
    return built(repository, "sentry")


def manifest(module: Path, name: str, config: dict[str, str] | None = None, **spec: Any) -> str:
    return json.dumps(
        {
            "apiVersion": "extensions.istio.io/v1alpha1",
            "kind": "WasmPlugin",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"url": f"file://{module}", "pluginName": "probe", "pluginConfig": config or {}, **spec},
        }
    )


@contextmanager
def applied(skerry: SkerryProcess, text: str) -> Iterator[str]:
    """Apply a plugin for the length of the block; yields its name for kubectl."""
    name = f"wasmplugin/{json.loads(text)['metadata']['name']}"
    skerry.apply(text)
    try:
        yield name
    finally:
        skerry.kubectl("delete", name)


def condition(skerry: SkerryProcess, name: str, condition_type: str) -> dict[str, str]:
    document = json.loads(skerry.kubectl("get", name, "-o", "json"))
    [found] = [c for c in document["status"]["conditions"] if c["type"] == condition_type]
    return dict(found)


def wait_for_reason(skerry: SkerryProcess, name: str, condition_type: str, reason: str) -> str:
    path = f'{{.status.conditions[?(@.type=="{condition_type}")].reason}}'
    skerry.kubectl("wait", f"--for=jsonpath={path}={reason}", name, "--timeout=60s")
    return condition(skerry, name, condition_type)["message"]


def test_a_ready_plugin_is_met_by_the_next_request(gateway: SkerryProcess, probe: Path):
    with applied(gateway, manifest(probe, "first", {"header": "one"})) as name:
        gateway.until_ready(name)
        assert gateway.get(URL).headers["x-probe"] == "one"
        table = gateway.kubectl("get", "wasmplugins", "-A").splitlines()
        assert table[0].split() == ["NAMESPACE", "NAME", "PHASE", "PRIORITY", "SOURCE", "READY", "GATEWAYS", "AGE"]
        assert table[1].split()[:7] == [
            "default", "first", "UNSPECIFIED_PHASE", "0", f"file://{probe}", "True", "1/1",
        ]  # fmt: skip
        document = json.loads(gateway.kubectl("get", name, "-o", "json"))
        [entry] = document["status"]["gateways"]
        assert entry == {
            "namespace": "default",
            "name": "default",
            "node": "local",
            "programmed": "True",
            "digest": document["status"]["code"]["digest"],
        }
    until(lambda: "x-probe" not in gateway.get(URL).headers)


def test_the_example_adds_its_header(gateway: SkerryProcess, repository: Path):
    example = (repository / "examples" / "wasmplugin" / "add-header.yaml").read_text()
    with serving(built(repository, "add-header").parent) as address:
        gateway.apply(example.replace("127.0.0.1:8000", address))
        gateway.until_ready("wasmplugin/add-header")
        assert gateway.get(URL).headers["x-greeting"] == "hello"
        gateway.kubectl("delete", "wasmplugin/add-header")


@contextmanager
def serving(directory: Path) -> Iterator[str]:
    """Serve a folder's files over HTTP; yields host and port."""
    handler = partial(SimpleHTTPRequestHandler, directory=str(directory))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_what_the_module_refuses_is_told_in_its_own_words_and_the_last_good_one_serves(
    gateway: SkerryProcess, probe: Path
):
    with applied(gateway, manifest(probe, "refusing", {"header": "good"})) as name:
        gateway.until_ready(name)
        gateway.apply(manifest(probe, "refusing", {"refuse": "no such key"}))
        message = wait_for_reason(gateway, name, "Ready", "Invalid")
        assert "refused: no such key" in message
        assert gateway.get(URL).headers["x-probe"] == "good"
        gateway.apply(manifest(probe, "refusing", {"header": "again"}))
        gateway.until_ready(name)
        assert gateway.get(URL).headers["x-probe"] == "again"


def test_a_module_that_never_comes_back_from_its_configuration_hurts_no_other(gateway: SkerryProcess, probe: Path):
    looping = manifest(probe, "looping", {"loop": "forever"}, failStrategy="FAIL_OPEN")
    with (
        applied(gateway, looping) as name,
        applied(gateway, manifest(probe, "other", {"header": "unharmed"})) as other,
    ):
        assert gateway.get(URL).status_code == 200
        assert "did not come back" in wait_for_reason(gateway, name, "Ready", "Invalid")
        gateway.until_ready(other)
        assert gateway.get(URL).headers["x-probe"] == "unharmed"
        gateway.apply(manifest(probe, "looping", {"loop": "forever"}))
        until(lambda: gateway.get(URL).status_code == 403)
        gateway.apply(manifest(probe, "looping", {"header": "mended"}))
        gateway.until_ready(name)
        assert sorted(gateway.get(URL).headers.get_list("x-probe")) == ["mended", "unharmed"]


def test_a_plugin_whose_target_is_not_found_says_so(gateway: SkerryProcess, probe: Path):
    targets = [{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "absent"}]
    with applied(gateway, manifest(probe, "lost", targetRefs=targets)) as name:
        assert "default/absent" in wait_for_reason(gateway, name, "Ready", "TargetNotFound")
        assert condition(gateway, name, "Accepted")["status"] == "False"


def test_a_plugin_that_selects_nothing_says_so(gateway: SkerryProcess, probe: Path):
    with applied(gateway, manifest(probe, "nowhere", match=[{"mode": "SERVER"}])) as name:
        assert "spec.match" in wait_for_reason(gateway, name, "Ready", "NoMatchingGateway")


def test_a_hundred_configurations_and_twenty_codes_under_load_lose_no_request_and_no_part_of_the_chain(
    gateway: SkerryProcess, probe: Path, sentry: Path, tmp_path: Path
):
    """Every answer has what both plugins of the chain add to it, while one or the other changes."""
    names, host = ("x-probe", "x-sentry"), {"Host": "f.plugins.test"}
    with (
        applied(gateway, manifest(probe, "load-a", {"header": "0"})) as one,
        applied(gateway, manifest(sentry, "load-b", {"header": "0"})) as other,
        gateway.api_client() as api,
        httpx.Client(trust_env=False, base_url=gateway.http, headers=host, timeout=SECONDS_MAX) as asker,
    ):
        gateway.until_ready(one, other)
        with Load.running(gateway.http, host="f.plugins.test", headers=names) as load:
            for number in range(100):
                change(api, ("load-a", "load-b")[number % 2], pluginConfig={"header": f"{number}"})
                until(partial(is_met, asker, names[number % 2], f"{number}"))
            for number in range(20):
                module, name, header = [(probe, "load-a", "x-probe"), (sentry, "load-b", "x-sentry")][number % 2]
                code = variant(module, tmp_path, number)
                change(api, name, url=f"file://{code}", pluginConfig={"header": f"code {number}"})
                until(partial(is_met, asker, header, f"code {number}"))
    assert load.report.problems == {}
    assert load.report.requests > 1000


def change(api: httpx.Client, name: str, **spec: Any) -> None:
    path = f"/apis/extensions.istio.io/v1alpha1/namespaces/default/wasmplugins/{name}"
    answer = api.patch(path, json={"spec": spec}, headers={"content-type": "application/merge-patch+json"})
    assert answer.status_code == 200, answer.text


def is_met(asker: httpx.Client, header: str, value: str) -> bool:
    return bool(asker.get("/").headers.get(header) == value)


def variant(module: Path, directory: Path, number: int) -> Path:
    """Write a module with other bytes: a custom section more, which changes nothing but its digest."""
    path = directory / f"{module.stem}-{number}.wasm"
    path.write_bytes(module.read_bytes() + bytes([0, 3, 2, 65, 65 + number]))
    return path


def test_a_restart_serves_the_plugin_from_the_first_request_on(tmp_path: Path, cache_dir: Path, probe: Path):
    with SkerryProcess.started(tmp_path / "data", cache_dir=cache_dir, settings=ANY_FILE) as skerry:
        skerry.apply(ROUTE)
        skerry.apply(manifest(probe, "kept", {"header": "kept"}))
        skerry.until_ready("wasmplugin/kept")
        skerry.kill()
        skerry.start()
        answer = skerry.get(URL)
        assert (answer.status_code, answer.headers["x-probe"]) == (200, "kept")
