"""The main job of plugins: `kubectl apply` one whose code is in a registry, and requests meet it in a real Envoy."""

import gzip
import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from skerry.testing.images import Image, cosign_signature, docker_image, oci_image, signature_tag_of, wasm_artifact
from skerry.testing.plugins import built
from skerry.testing.registry_process import PASSWORD, USERNAME, RegistryProcess
from skerry.testing.skerry_process import SkerryProcess
from skerry.testing.wasm import proxy_wasm_module

pytestmark = pytest.mark.system

READY = "--for=condition=Ready"
HOST = "http://any.example/"
CODE_BYTES_MAX = 1024 * 1024
KEY = ec.generate_private_key(ec.SECP256R1())
PEM = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


@dataclass
class Edge:
    """A Skerry that trusts a registry with a password and TLS, and the module that adds a header."""

    skerry: SkerryProcess
    registry: RegistryProcess
    module: bytes

    def variant(self, mark: str) -> bytes:
        """Return the module with other bytes: a custom section more, which changes nothing but its digest."""
        section = bytes([len(mark)]) + mark.encode()
        return self.module + bytes([0, len(section)]) + section

    def push(self, reference: str, image: Image) -> str:
        """Push an image, and return its URL."""
        repository, _, tag = reference.partition(":")
        self.registry.push(repository, tag, image)
        return f"{self.registry.host}/{reference}"

    def apply(self, name: str, url: str, annotations: dict[str, str] | None = None, **spec: Any) -> None:
        manifest = {
            "apiVersion": "extensions.istio.io/v1alpha1",
            "kind": "WasmPlugin",
            "metadata": {"name": name, "namespace": "default", "annotations": annotations or {}},
            "spec": {
                "url": url,
                "imagePullSecret": "pull",
                "pluginName": "add_header",
                "pluginConfig": {"name": f"x-{name}", "value": "met"},
                **spec,
            },
        }
        self.skerry.apply(json.dumps(manifest))

    def wait(self, name: str, condition: str) -> None:
        self.skerry.kubectl("wait", f"--for={condition}", f"wasmplugin/{name}", "--timeout=60s")

    def wait_for_reason(self, name: str, kind: str, reason: str) -> None:
        self.wait(name, f'jsonpath={{.status.conditions[?(@.type=="{kind}")].reason}}={reason}')

    def get(self, name: str, path: str) -> str:
        return self.skerry.kubectl("get", f"wasmplugin/{name}", "-o", f"jsonpath={{{path}}}")

    def delete(self, name: str) -> None:
        self.skerry.kubectl("delete", f"wasmplugin/{name}")


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path, repository: Path) -> Iterator[Edge]:
    root = tmp_path_factory.mktemp("plugins")
    module = built(repository, "add-header").read_bytes()
    with RegistryProcess.started(root / "registry", password=True, tls=True) as registry:
        (root / "data").mkdir()
        (root / "data" / "skerry.toml").write_text(
            f'fetch_ca_file = "{registry.ca_file}"\nfetch_seconds_max = 5\nfetch_bytes_max = {CODE_BYTES_MAX}\n'
        )
        with SkerryProcess.started(root / "data", cache_dir=cache_dir) as skerry:
            skerry.kubectl(
                *("create", "secret", "docker-registry", "pull", f"--docker-server={registry.host}"),
                *(f"--docker-username={USERNAME}", f"--docker-password={PASSWORD}"),
            )
            yield Edge(skerry, registry, module)


@pytest.mark.parametrize("layout", [docker_image, oci_image, wasm_artifact], ids=lambda made: made.__name__)
def test_a_plugin_of_a_private_image_is_met_by_the_next_request(layout: Any, edge: Edge) -> None:
    name = layout.__name__.replace("_", "-")
    image = layout(edge.module)
    url = edge.push(f"{name}/app:v1", image)
    edge.apply(name, url)
    edge.skerry.until_ready(f"wasmplugin/{name}")
    assert edge.skerry.get(HOST).headers[f"x-{name}"] == "met"
    assert edge.get(name, ".status.code.url") == f"oci://{url}@sha256:{image.digest}"
    (row,) = edge.skerry.kubectl("get", "wasmplugins", "-n", "default", "--no-headers").splitlines()
    assert row.split()[:6] == [name, "UNSPECIFIED_PHASE", "0", url, "True", "1/1"]
    edge.delete(name)


def test_an_image_that_is_not_there_denies_requests_until_it_is(edge: Edge) -> None:
    edge.apply("late", f"{edge.registry.host}/late/app:v1")
    edge.wait_for_reason("late", "Fetched", "NotFound")
    edge.wait_for_reason("late", "Programmed", "CodeUnavailable")
    assert edge.skerry.get(HOST).status_code == 403
    message = edge.get("late", '.status.conditions[?(@.type=="Fetched")].message')
    assert f"the registry has no {edge.registry.host}/late/app:v1" in message
    assert "NotFound" in edge.skerry.kubectl("describe", "wasmplugin/late").partition("Events:")[2]
    edge.push("late/app:v1", docker_image(edge.module))
    edge.wait("late", "condition=Ready")  # tried again by itself
    assert edge.skerry.get(HOST).headers["x-late"] == "met"
    edge.delete("late")


def test_without_the_right_credentials_an_image_is_refused_and_fail_open_lets_requests_pass(edge: Edge) -> None:
    url = edge.push("private/app:v1", docker_image(edge.module))
    edge.apply("private", url, imagePullSecret=None, failStrategy="FAIL_OPEN")
    edge.wait_for_reason("private", "Fetched", "Unauthorized")
    edge.wait_for_reason("private", "Programmed", "CodeUnavailable")
    answer = edge.skerry.get(HOST)
    assert answer.status_code == 404
    assert "x-private" not in answer.headers
    edge.apply("private", url)
    edge.wait("private", "condition=Ready")
    edge.delete("private")


def test_only_code_that_is_signed_with_the_key_runs(edge: Edge) -> None:
    image = docker_image(edge.variant("signed"))
    url = edge.push("signed/app:v1", image)
    edge.apply("signed", url, verificationKey=PEM)
    edge.wait_for_reason("signed", "Verified", "SignatureInvalid")
    edge.wait_for_reason("signed", "Programmed", "CodeUnavailable")
    assert edge.skerry.get(HOST).status_code == 403
    edge.registry.push("signed/app", signature_tag_of(image.digest), cosign_signature(KEY, image.digest))
    edge.wait("signed", "condition=Ready")
    assert edge.get("signed", '.status.conditions[?(@.type=="Verified")].reason') == "SignatureVerified"
    assert edge.skerry.get(HOST).headers["x-signed"] == "met"
    edge.delete("signed")


def test_a_moved_tag_is_followed_as_its_pull_policy_says(edge: Edge) -> None:
    url = edge.push("moved/app:v1", docker_image(edge.variant("one")))
    edge.apply("moved", url, imagePullPolicy="Always")
    edge.wait("moved", "condition=Ready")
    before = edge.get("moved", ".status.code.digest")
    moved = docker_image(edge.variant("two"))
    edge.push("moved/app:v1", moved)
    edge.skerry.kubectl("annotate", "wasmplugin/moved", "touched=yes")
    edge.wait("moved", f"jsonpath={{.status.code.url}}=oci://{url}@sha256:{moved.digest}")
    edge.wait("moved", "condition=Ready")
    assert edge.get("moved", ".status.code.digest") != before
    assert edge.skerry.get(HOST).headers["x-moved"] == "met"
    edge.delete("moved")


def test_a_registry_that_hangs_holds_up_no_other_plugin(edge: Edge) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for number in range(4):
            url = f"127.0.0.1:{silent.getsockname()[1]}/app:{number}"
            edge.apply(f"stuck{number}", url, failStrategy="FAIL_OPEN", match=[{"ports": [{"number": 1}]}])
        edge.apply("quick", edge.push("quick/app:v1", docker_image(edge.module)))
        edge.wait("quick", "condition=Ready")
        assert edge.skerry.get(HOST).headers["x-quick"] == "met"
        edge.wait("stuck0", 'jsonpath={.status.conditions[?(@.type=="Fetched")].status}=False')
    for name in ("quick", *(f"stuck{number}" for number in range(4))):
        edge.delete(name)


def test_bad_code_keys_and_secrets_are_told_and_disturb_no_neighbour(edge: Edge) -> None:
    edge.apply("good", edge.push("good/app:v1", docker_image(edge.module)))
    edge.wait("good", "condition=Ready")
    bomb = gzip.compress(b"\0asm" + bytes(CODE_BYTES_MAX))
    images = {
        "text": (wasm_artifact(b"no module"), "NotWasm"),
        "empty": (oci_image(b"", name="other"), "NotWasm"),
        "truncated": (wasm_artifact(edge.module[:-100]), "NotWasm"),
        "no-plugin": (wasm_artifact(proxy_wasm_module(export="main")), "NotProxyWasm"),
        "bomb": (wasm_artifact(bomb), "TooLarge"),
    }
    for name, (image, _) in images.items():
        edge.apply(name, edge.push(f"{name}/app:v1", image), failStrategy="FAIL_OPEN")
    edge.apply("no-key", f"{edge.registry.host}/good/app:v1", verificationKey="no key", failStrategy="FAIL_OPEN")
    edge.skerry.kubectl("create", "secret", "generic", "plain", "--from-literal=a=b")
    edge.apply("no-secret", f"{edge.registry.host}/good/app:v1", imagePullSecret="plain", failStrategy="FAIL_OPEN")
    for name, (_, reason) in images.items():
        edge.wait_for_reason(name, "Fetched", reason)
    edge.wait_for_reason("no-key", "Verified", "SignatureInvalid")
    edge.wait_for_reason("no-secret", "Fetched", "CredentialsInvalid")
    answer = edge.skerry.get(HOST)
    assert (answer.status_code, answer.headers["x-good"]) == (404, "met")
    edge.skerry.kubectl("delete", "wasmplugin", "good", "no-key", "no-secret", *images)


def test_every_fault_of_a_plugin_is_told_by_kubectl_at_once(edge: Edge) -> None:
    manifest = {
        "apiVersion": "extensions.istio.io/v1alpha1",
        "kind": "WasmPlugin",
        "metadata": {"name": "wrong", "namespace": "default"},
        "spec": {"url": "ftp://a/b", "sha256": "AB", "phase": "FIRST"},
    }
    said = edge.skerry.kubectl("apply", "-f", "-", stdin=json.dumps(manifest), fails=True)
    for path in ("spec.url", "spec.sha256", "spec.phase"):
        assert path in said


def test_plugins_serve_after_a_restart_while_their_registry_is_away(
    tmp_path: Path, cache_dir: Path, repository: Path
) -> None:
    with SkerryProcess.started(tmp_path / "data", cache_dir=cache_dir) as skerry:
        with RegistryProcess.started(tmp_path / "registry") as registry:
            edge = Edge(skerry, registry, built(repository, "add-header").read_bytes())
            url = edge.push("kept/app:v1", docker_image(edge.module))
            edge.apply("kept", url, imagePullSecret=None)
            edge.wait("kept", "condition=Ready")
        skerry.kill()
        skerry.start()
        assert skerry.get(HOST).headers["x-kept"] == "met"
        edge.apply("kept", url, imagePullSecret=None, pluginConfig={"name": "x-kept", "value": "changed"})
        edge.wait("kept", "jsonpath={.status.observedGeneration}=2")
        edge.wait("kept", "condition=Ready")
        assert skerry.get(HOST).headers["x-kept"] == "changed"


def test_the_example_applies(edge: Edge, repository: Path) -> None:
    path = str(repository / "examples/wasmplugin/add-header.yaml")
    assert "add-header" in edge.skerry.kubectl("apply", "--dry-run=server", "-f", path)
