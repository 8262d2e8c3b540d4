"""Which layer of an image is the module, and which image of an index."""

from typing import Any

import pytest

from skerry.artifacts.errors import FetchError
from skerry.artifacts.fetching.forms import WASM_MODULE
from skerry.artifacts.fetching.images import (
    LAYERS_MAX,
    choose_child,
    code_layer,
    is_index,
    parse_document,
)
from skerry.artifacts.fetching.unboxing import any_file

OCI = "application/vnd.oci.image.layer.v1.tar"
DOCKER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
ISTIO = "application/vnd.module.wasm.content.layer.v1+wasm"
IMAGE = "application/vnd.oci.image.manifest.v1+json"


def named(media_type: str, number: int = 0) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": f"sha256:{number:064x}", "size": 1}


def chosen(*media_types: str) -> int:
    layers = [named(media_type, number) for number, media_type in enumerate(media_types)]
    return int(code_layer({"layers": layers}).descriptor.digest, 16)


@pytest.mark.parametrize(
    ("layers", "number"),
    [
        ([ISTIO, "application/vnd.module.wasm.config.v1+json"], 0),
        (["application/vnd.module.wasm.config.v1+json", ISTIO], 1),
        ([ISTIO], 0),
        (["application/wasm"], 0),
        (["application/vnd.wasm.content.layer.v1+wasm"], 0),
        ([DOCKER, DOCKER], 1),
        ([OCI, OCI + "+gzip"], 1),
        ([OCI + "+zstd"], 0),
        ([OCI], 0),
        (["application/octet-stream"], 0),
    ],
)
def test_the_layer_with_the_module_is_found(layers: list[str], number: int) -> None:
    assert chosen(*layers) == number


def test_of_an_archive_plugin_wasm_is_wanted_and_of_an_artifact_any_file() -> None:
    assert code_layer({"layers": [named(DOCKER)]}).wanted == WASM_MODULE.is_in_image
    assert code_layer({"layers": [named(ISTIO)]}).wanted is any_file


@pytest.mark.parametrize("layers", [[], [OCI, "text/plain"], ["text/plain", "text/html"]])
def test_an_image_without_a_module_is_refused_by_what_it_has(layers: list[str]) -> None:
    with pytest.raises(FetchError, match=layers[0] if layers else "no layers") as raised:
        chosen(*layers)
    assert raised.value.reason == "ImageUnsupported"


@pytest.mark.parametrize(
    "layers",
    [None, {}, [named(ISTIO)] * (LAYERS_MAX + 1), [{}], ["x"], [named(ISTIO) | {"digest": "md5:1"}],
     [named(ISTIO) | {"size": -1}], [named(ISTIO) | {"size": "1"}]],
)  # fmt: skip
def test_a_manifest_of_a_wrong_form_is_refused(layers: Any) -> None:
    with pytest.raises(FetchError):
        code_layer({"layers": layers})


def index(*platforms: tuple[str, str] | None) -> dict[str, Any]:
    entries = []
    for number, platform in enumerate(platforms):
        entry = named(IMAGE, number)
        if platform is not None:
            entry["platform"] = {"os": platform[0], "architecture": platform[1]}
        entries.append(entry)
    return {"schemaVersion": 2, "manifests": entries}


@pytest.mark.parametrize(
    ("platforms", "number"),
    [
        ([("linux", "arm64"), ("linux", "amd64")], 1),
        ([("linux", "amd64"), ("wasi", "wasm")], 1),
        ([("unknown", "unknown"), ("linux", "arm64")], 1),
        ([("windows", "amd64"), ("linux", "arm64")], 0),
        ([None], 0),
    ],
)
def test_the_image_of_an_index_is_wasm_then_linux_amd64_then_the_first(
    platforms: list[tuple[str, str] | None], number: int
) -> None:
    assert int(choose_child(index(*platforms)).digest, 16) == number


def test_an_index_without_an_image_is_refused() -> None:
    for empty in (index(), index(("unknown", "unknown"))):
        with pytest.raises(FetchError, match="lists no image"):
            choose_child(empty)


def test_an_index_is_known_by_its_media_type_or_its_content() -> None:
    assert is_index("application/vnd.oci.image.index.v1+json", {})
    assert is_index("text/plain", {"manifests": []})
    assert is_index(IMAGE, {"mediaType": "application/vnd.docker.distribution.manifest.list.v2+json"})
    assert not is_index(IMAGE, {"layers": []})


@pytest.mark.parametrize("content", [b"", b"[]", b"<html>", b'{"schemaVersion": 1}'])
def test_what_is_no_manifest_is_refused(content: bytes) -> None:
    with pytest.raises(FetchError):
        parse_document(content)
