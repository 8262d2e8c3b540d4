"""`skerry plugin`: a module in a private Envoy, and the chain of a Gateway."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import wasmtime

from skerry.testing import forked
from skerry.testing.plugins import built
from skerry.testing.skerry_process import SkerryProcess

pytestmark = pytest.mark.system

COMMAND_SECONDS_MAX = 120.0


@dataclass(frozen=True)
class Outcome:
    code: int
    lines: list[str]
    error: str


def run(module: Path, *flags: str, **config: str) -> Outcome:
    """Run `skerry plugin test` with a module, configured by JSON."""
    given = ("--config", json.dumps(config)) if config else ()
    done = forked.run(["plugin", "test", str(module), *given, *flags], timeout_seconds=COMMAND_SECONDS_MAX)
    return Outcome(done.code, done.out.splitlines(), done.err)


def probe(repository: Path, *flags: str, **config: str) -> Outcome:
    """Run the module of tests/wasm/probe.ts, which does what its configuration says."""
    return run(built(repository, "probe"), "--plugin-name", "probe", *flags, **config)


def assembled(repository: Path, directory: Path, name: str) -> Path:
    path = directory / f"{name}.wasm"
    path.write_bytes(wasmtime.wat2wasm((repository / "tests" / "wasm" / f"{name}.wat").read_text()))
    return path


def test_what_a_module_changes_is_marked_and_nothing_else(repository: Path) -> None:
    sent = ("--request", "POST http://shop.test/cart?full=1", "-H", "x-user: kim", "--data", "milk\n")
    outcome = probe(repository, *sent, append="mark", header="met", body="bye")
    assert outcome.code == 0, outcome.error
    changed = [line.strip() for line in outcome.lines if line.startswith(("  + ", "  - "))]
    assert changed == [
        "+ x-chain: mark",
        "- content-length: 24",
        "+ transfer-encoding: chunked",
        "+ x-probe: met",
        "- hello from the upstream",
        "+ bye",
        "+ (no newline at the end)",
    ]
    assert {"    POST /cart?full=1", "    host: shop.test", "    x-user: kim", "    milk"} <= set(outcome.lines)


def test_the_upstreams_answer_can_be_given(repository: Path, tmp_path: Path) -> None:
    answer = tmp_path / "answer.json"
    answer.write_text('{"a": 1}\n')
    flags = ("--response-data", f"@{answer}", "--response-header", "content-type: application/json")
    outcome = probe(repository, *flags, header="met")
    assert {'    {"a": 1}', "    content-type: application/json", "  + x-probe: met"} <= set(outcome.lines)


def test_a_module_that_answers_by_itself_keeps_the_upstream_unasked(repository: Path) -> None:
    outcome = probe(repository, "-H", "x-bad: 1", deny="x-bad")
    assert outcome.code == 0, outcome.error
    assert "request, as the upstream got it: the upstream was not asked" in outcome.lines
    assert {"  - 200", "  + 418", "  + denied"} <= set(outcome.lines)


def test_a_module_that_traps_is_a_failure_with_its_words(repository: Path) -> None:
    outcome = probe(repository, "-H", "x-bad: 1", trap="x-bad")
    assert outcome.code == 1
    assert "  + 503" in outcome.lines
    assert outcome.error.startswith("error: the module trapped: Function: proxy_on_request_headers failed")


def test_a_refused_configuration_is_a_failure_with_the_modules_words(repository: Path) -> None:
    outcome = probe(repository, refuse="the key is missing")
    assert outcome.code == 1
    assert "the proxy refused the module; no request was sent through it" in outcome.lines
    assert "  error    refused: the key is missing" in outcome.lines
    assert outcome.error.startswith("error: the module was refused: refused: the key is missing")


def test_a_module_that_never_comes_back_ends_the_command_all_the_same(repository: Path) -> None:
    outcome = probe(repository, loop="forever")
    assert outcome.code == 1
    assert "the module did not come back from its configuration within 10 s" in outcome.error


def test_what_a_module_says_is_told_once_and_by_level(repository: Path) -> None:
    quiet = probe(repository, header="met")
    assert quiet.lines[-1] == "log: empty"
    told = probe(repository, "--log-level", "debug", header="met").lines
    configured = [line for line in told if "onConfigure" in line]
    assert len(configured) == 1, told
    assert configured[0].startswith("  debug    ")


def test_a_network_module_is_met_by_the_connection(repository: Path, tmp_path: Path) -> None:
    outcome = run(assembled(repository, tmp_path, "close"), "--type", "network")
    assert outcome.code == 1
    assert "response, as the client got it: no response came" in outcome.lines
    assert "the module held it back, or closed the connection" in outcome.error


def test_a_file_that_is_no_plugin_is_told(tmp_path: Path) -> None:
    bad = tmp_path / "bad.wasm"
    bad.write_bytes(b"not wasm at all")
    outcome = run(bad)
    assert (outcome.code, outcome.lines) == (1, [])
    assert outcome.error == "error: the code is no Wasm module of version 1\n"


def test_the_chain_of_a_gateway_is_listed_in_the_order_that_requests_meet_it(
    skerry: SkerryProcess, repository: Path, tmp_path: Path
) -> None:
    module, close = built(repository, "add-header"), assembled(repository, tmp_path, "close")
    plugins: dict[str, dict[str, Any]] = {
        "last": {"phase": "UNSPECIFIED_PHASE", "priority": 100},
        "low": {"phase": "AUTHN", "priority": 1},
        "high": {"phase": "AUTHN", "priority": 2},
        "stats": {"phase": "STATS"},
        "refused": {"phase": "AUTHZ", "pluginConfig": {"name": ""}},
        "first": {"type": "NETWORK", "url": f"file://{close}", "match": [{"ports": [{"number": 1}]}]},
    }
    for name, spec in plugins.items():
        whole = {"url": f"file://{module}", "pluginName": "add_header", "pluginConfig": {"name": "x-a", "value": name}}
        manifest = {
            "apiVersion": "extensions.istio.io/v1alpha1",
            "kind": "WasmPlugin",
            "metadata": {"name": name},
            "spec": whole | spec,
        }
        skerry.apply(json.dumps(manifest))
    for name in ("last", "low", "high", "stats"):
        skerry.until_ready(f"wasmplugin/{name}")
    skerry.kubectl("wait", "--for=condition=Programmed=false", "wasmplugin/refused", "--timeout=60s")
    issuer = {"issuer": "https://issuer.test", "jwksUri": "http://127.0.0.1:1/keys"}
    for kind, name, spec in (
        ("RequestAuthentication", "tokens", {"jwtRules": [issuer]}),
        ("AuthorizationPolicy", "nobody", {"action": "DENY", "rules": [{"to": [{"operation": {"paths": ["/no"]}}]}]}),
    ):
        policy = {"apiVersion": "security.istio.io/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}
        skerry.apply(json.dumps(policy))
        skerry.until_ready(f"{kind}/{name}")
    heading, *rows = skerry.skerry("plugin", "ls", "--gateway", "default").splitlines()
    assert heading.split() == ["GATEWAY", "PLUGIN", "TYPE", "PHASE", "PRIORITY", "READY", "MESSAGE"]
    assert [row.split()[:6] for row in rows] == [
        ["default", "default/high", "HTTP", "AUTHN", "2", "True"],
        ["default", "default/low", "HTTP", "AUTHN", "1", "True"],
        ["default", "default/tokens", "RequestAuthentication", "True"],
        ["default", "default/refused", "HTTP", "AUTHZ", "0", "False"],
        ["default", "default/nobody", "AuthorizationPolicy", "DENY", "True"],
        ["default", "default/stats", "HTTP", "STATS", "0", "True"],
        ["default", "default/last", "HTTP", "UNSPECIFIED_PHASE", "100", "True"],
    ]
    assert "no plugins run on gateways of namespace kube-public" in skerry.skerry("plugin", "ls", "-n", "kube-public")
    assert "error: " in skerry.skerry("plugin", "ls", "--gateway", "absent", fails=True)
