"""The main job of native functions: `kubectl apply` one, name it in a route, and requests pass it in a real Envoy."""

import base64
import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from skerry.testing.images import Image, LayerOf, image_of, oci_image, tar_of
from skerry.testing.natives import built_native
from skerry.testing.plugins import built
from skerry.testing.registry_process import PASSWORD, USERNAME, RegistryProcess
from skerry.testing.skerry_process import SkerryProcess
from skerry.testing.waiting import until

pytestmark = pytest.mark.system

APOXY_LAYER = "application/vnd.apoxy.dev.image.content.v1.tar+gzip"
HEADER = "x-greeting"


@dataclass
class Edge:
    """A Skerry that allows native plugins, a registry with a password, and the example's module."""

    skerry: SkerryProcess
    registry: RegistryProcess
    module: Path

    def apply(self, *documents: dict[str, Any], fails: bool = False) -> str:
        listed = {"apiVersion": "v1", "kind": "List", "items": list(documents)}
        return self.skerry.kubectl("apply", "-f", "-", stdin=json.dumps(listed), fails=fails)

    def wait(self, name: str, condition: str) -> None:
        self.skerry.kubectl("wait", f"--for={condition}", f"edgefunction/{name}", "--timeout=60s")

    def wait_until_live(self, name: str) -> None:
        """Wait until the function's present template is in force."""
        self.wait(name, "condition=Latest")
        self.wait(name, "condition=Ready")
        self.wait(name, "condition=Programmed")

    def message(self, name: str, condition: str) -> str:
        path = f'{{.status.conditions[?(@.type=="{condition}")].message}}'
        return self.skerry.kubectl("get", f"edgefunction/{name}", "-o", f"jsonpath={path}")

    def ask(self, name: str) -> Any:
        return self.skerry.get(f"http://{name}.example/")

    def until_met(self, name: str, value: str, header: str = HEADER) -> None:
        """Ask until requests meet the filter: Envoy takes a change before each of its threads has it."""
        until(lambda: self.ask(name).headers.get(header) == value, f"requests of {name} meet {value}")


def function(name: str, dynamic: str = "", *, code_name: str = "", **source: Any) -> dict[str, Any]:
    code: dict[str, Any] = {"goPluginSource": source}
    if code_name:
        code["metadata"] = {"name": code_name}
    spec: dict[str, Any] = {"template": {"mode": "filter", "code": code}}
    if dynamic:
        spec["dynamicPluginConfig"] = dynamic
    return {
        "apiVersion": "extensions.apoxy.dev/v1alpha2",
        "kind": "EdgeFunction",
        "metadata": {"name": name},
        "spec": spec,
    }


def route(*filters: str) -> list[dict[str, Any]]:
    """Write a route of `<first filter>.example` that passes filters, and the answer at its end."""
    kinds = [("EdgeFunction", name) for name in filters] + [("DirectResponse", "done")]
    steps = [
        {"type": "ExtensionRef", "extensionRef": {"group": "extensions.apoxy.dev", "kind": kind, "name": name}}
        for kind, name in kinds
    ]
    return [
        {
            "apiVersion": "extensions.apoxy.dev/v1alpha2",
            "kind": "DirectResponse",
            "metadata": {"name": "done"},
            "spec": {"statusCode": 200},
        },
        {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "HTTPRoute",
            "metadata": {"name": filters[0], "namespace": "default"},
            "spec": {
                "parentRefs": [{"name": "default"}],
                "hostnames": [f"{filters[0]}.example"],
                "rules": [{"filters": steps}],
            },
        },
    ]


def greeting(value: str, header: str = HEADER) -> str:
    return json.dumps({"header": header, "value": value})


def apoxy_image(module: bytes) -> Image:
    return image_of(LayerOf(gzip.compress(tar_of("./plugins/func.so", module)), APOXY_LAYER))


def raw_layer(module: bytes) -> Image:
    return image_of(LayerOf(module, APOXY_LAYER))


def last_layer(module: bytes) -> Image:
    return oci_image(module, name="./usr/lib/greeting.so")


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path, repository: Path) -> Iterator[Edge]:
    root = tmp_path_factory.mktemp("natives")
    module = built_native(repository, root / "greeting.so")
    with RegistryProcess.started(root / "registry", password=True) as registry:
        (root / "data").mkdir()
        (root / "data" / "skerry.toml").write_text(f'native_plugins = true\nfetch_file_dirs = ["{root}"]\n')
        with SkerryProcess.started(root / "data", cache_dir=cache_dir) as skerry:
            yield Edge(skerry, registry, module)


def test_requests_of_a_route_pass_a_native_function_and_each_revision_of_it(edge: Edge) -> None:
    url = f"file://{edge.module}"
    edge.apply(function("greet", url=url, pluginConfig=greeting("one")), *route("greet"))
    edge.wait_until_live("greet")
    edge.until_met("greet", "one")
    edge.apply(function("greet", url=url, pluginConfig=f"header: {HEADER}\nvalue: two"))
    edge.wait_until_live("greet")
    edge.until_met("greet", "two")
    assert edge.skerry.get("http://other.example/").headers.get(HEADER) is None


def test_what_routes_give_changes_without_a_revision_and_a_bad_one_changes_nothing(edge: Edge) -> None:
    source = {"url": f"file://{edge.module}", "pluginConfig": greeting("all")}
    edge.apply(function("dynamic", greeting("routed"), **source), *route("dynamic"))
    edge.wait_until_live("dynamic")
    edge.until_met("dynamic", "routed")
    edge.apply(function("dynamic", greeting("again"), **source))
    edge.wait("dynamic", 'jsonpath={.status.conditions[?(@.type=="Programmed")].observedGeneration}=2')
    edge.until_met("dynamic", "again")
    edge.apply(function("dynamic", '{"header": "x"}', **source))
    edge.wait("dynamic", "condition=Programmed=False")
    assert "per-route" in edge.message("dynamic", "Programmed")
    edge.until_met("dynamic", "again")
    assert (
        len(
            edge.skerry.kubectl(
                "get", "efr", "-l", "extensions.apoxy.dev/edgefunction=dynamic", "--no-headers"
            ).splitlines()
        )
        == 1
    )


@pytest.mark.parametrize("layout", [apoxy_image, raw_layer, last_layer], ids=lambda made: made.__name__)
def test_a_function_of_a_private_image_runs_and_its_password_is_never_shown(layout: Any, edge: Edge) -> None:
    name = layout.__name__.replace("_", "-")
    edge.registry.push(f"{name}/greeting", "latest", layout(edge.module.read_bytes()))
    oci = {
        "repo": f"{edge.registry.host}/{name}/greeting",
        "credentials": {"username": USERNAME, "password": PASSWORD},
    }
    edge.apply(function(name, oci=oci, pluginConfig=greeting(name)), *route(name))
    edge.wait_until_live(name)
    edge.until_met(name, name)
    shown = edge.skerry.kubectl(
        "get", "edgefunctions,edgefunctionrevisions,events", "-A", "-o", "yaml", "--show-managed-fields"
    )
    assert f"username: {USERNAME}" in shown
    once = base64.b64encode(PASSWORD.encode())
    for form in (PASSWORD, once.decode(), base64.b64encode(once).decode()):
        assert form not in shown
    edge.skerry.kubectl("label", f"edgefunction/{name}", "seen=yes")  # keeps the password that it was not shown
    edge.skerry.kubectl(
        "patch",
        f"edgefunction/{name}",
        "--type=merge",
        "-p",
        json.dumps({"spec": {"template": {"code": {"goPluginSource": {"pluginConfig": greeting("patched")}}}}}),
    )
    edge.wait_until_live(name)
    edge.until_met(name, "patched")


def test_a_secret_gives_the_credentials_and_what_is_wrong_with_it_is_told(edge: Edge) -> None:
    edge.registry.push("secret/greeting", "v1", apoxy_image(edge.module.read_bytes()))
    reference = {"group": "", "kind": "Secret", "name": "pull", "namespace": "default"}
    oci = {"repo": f"{edge.registry.host}/secret/greeting", "tag": "v1", "credentialsRef": reference}
    edge.apply(function("secret", oci=oci, pluginConfig=greeting("secret")), *route("secret"))
    edge.wait("secret", 'jsonpath={.status.conditions[?(@.type=="Latest")].reason}=Retrying')
    assert "Secret default/pull does not exist" in edge.message("secret", "Latest")
    edge.skerry.kubectl(
        *("create", "secret", "docker-registry", "pull", f"--docker-server={edge.registry.host}"),
        *(f"--docker-username={USERNAME}", f"--docker-password={PASSWORD}"),
    )
    edge.wait_until_live("secret")
    edge.until_met("secret", "secret")


@pytest.mark.parametrize(
    ("case", "told"),
    [
        ("text", "no shared object"),
        ("truncated", "cut short"),
        ("other-machine", "it is for machine 8, and this node is"),
        ("lacking", "envoy_dynamic_module_on_http_filter_request_body"),
        ("other-abi", "version v9.0.0 of Envoy's ABI"),
        ("crashing", "SIGABRT"),
        ("configuration", "Failed to initialize dynamic module"),
    ],
)
def test_code_that_envoy_can_not_load_is_told_and_never_gets_there(
    case: str, told: str, edge: Edge, repository: Path
) -> None:
    file = edge.module.with_name(f"{case}.so")
    content = edge.module.read_bytes()
    config = greeting("no")
    match case:
        case "text":
            file.write_text("a text that somebody called plugin.so")
        case "truncated":
            file.write_bytes(content[: len(content) // 2])
        case "other-machine":
            file.write_bytes(content[:18] + (8).to_bytes(2, "little") + content[20:])
        case "lacking":
            built_native(repository, file, "-Denvoy_dynamic_module_on_http_filter_request_body=renamed")
        case "other-abi":
            built_native(repository, file, '-DABI_VERSION="v9.0.0"')
        case "crashing":
            source = file.with_suffix(".c")
            source.write_text("#include <stdlib.h>\n__attribute__((constructor)) static void end(void) { abort(); }")
            built_native(repository, file, str(source))
        case _:
            file, config = edge.module, "{}"
    name = f"bad-{case}"
    edge.apply(function(name, url=f"file://{file}", pluginConfig=config), *route(name))
    edge.wait(name, "condition=Latest=False")
    edge.wait(name, "condition=Ready=False")
    edge.wait(name, 'jsonpath={.status.conditions[?(@.type=="Latest")].reason}=Failed')
    assert told in edge.message(name, "Latest")
    until(lambda: edge.ask(name).status_code == 500, f"requests do not pass {name}")


def test_a_proxy_wasm_module_is_a_filter_of_its_own_route(edge: Edge, repository: Path) -> None:
    module = built(repository, "add-header")
    file = edge.module.with_name("add-header.wasm")
    file.write_bytes(module.read_bytes())
    wasm = {
        "apiVersion": "extensions.apoxy.dev/v1alpha2",
        "kind": "EdgeFunction",
        "metadata": {"name": "wasm"},
        "spec": {
            "template": {
                "mode": "filter",
                "code": {"metadata": {"name": "add_header"}, "wasmSource": {"url": f"file://{file}"}},
            },
            "dynamicPluginConfig": '{"name": "x-wasm", "value": "met"}',
        },
    }
    edge.apply(wasm, *route("wasm", "greet"))
    edge.wait_until_live("wasm")
    edge.until_met("wasm", "met", "x-wasm")
    assert "x-wasm" not in edge.ask("greet").headers
