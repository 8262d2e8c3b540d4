"""Which part of an image is the code: manifests and indexes of OCI and Docker, read and decided on. Pure.

Accepted, in this order:

- a layer whose media type says what it is: Wasm (Istio's artifacts of two layers, CNCF artifacts of one, the older ORAS
  form), or the content of an Apoxy image;
- the last layer, where it is an archive (docker or OCI, tar, tar+gzip or tar+zstd): `plugin.wasm`, or `*.so`, in it;
- the only layer, whatever its media type says.

https://github.com/opencontainers/image-spec, https://tag-runtime.cncf.io/wgs/wasm/deliverables/wasm-oci-artifact/
"""

import re
from dataclasses import dataclass
from typing import Any

import orjson

from skerry.artifacts.errors import FetchError
from skerry.artifacts.fetching.forms import WASM_MODULE, CodeForm
from skerry.artifacts.fetching.unboxing import Wanted, any_file

INDEX_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
MANIFEST_TYPES = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
_ARCHIVE_TYPE = re.compile(
    r"application/vnd\.(docker\.image\.rootfs\.diff\.tar(\.gzip|\.zstd)?|oci\.image\.layer\.v1\.tar(\+gzip|\+zstd)?)"
)
#: Far above any image of a plugin; a list is bounded.
LAYERS_MAX = 128
CHILDREN_MAX = 128
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Descriptor:
    """Names a blob or a manifest.

    Attributes:
        media_type: what it is.
        digest: its sha256, 64 hexadecimal digits.
        size_bytes: its size.
        annotations: what stands beside it.
    """

    media_type: str
    digest: str
    size_bytes: int
    annotations: dict[str, str]


@dataclass(frozen=True, slots=True)
class Layer:
    """Where the code is: a layer, and which file of it where it is an archive."""

    descriptor: Descriptor
    wanted: Wanted


def is_index(media_type: str, document: dict[str, Any]) -> bool:
    """Tell whether a document lists manifests, by its own word and by what its server says."""
    own = document.get("mediaType") or media_type
    return own in INDEX_TYPES or (own not in MANIFEST_TYPES and "manifests" in document)


def parse_document(content: bytes) -> dict[str, Any]:
    """Read a manifest or an index; raises FetchError."""
    try:
        document = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise FetchError("ManifestFailed", f"the image's manifest is no JSON: {error}") from error
    if not isinstance(document, dict) or document.get("schemaVersion") != 2:
        raise FetchError("ImageUnsupported", "the image's manifest is not of schema version 2")
    return document


def choose_child(index: dict[str, Any], form: CodeForm = WASM_MODULE) -> Descriptor:
    """Choose among the manifests of an index by the platforms of a form, else the first of any platform.

    A Wasm module is the same for every platform, so any would do: wasm, else linux/amd64 as Istio does. What has no
    platform is no image (attestations).
    """
    ranks = {platform: rank for rank, platform in enumerate(form.platforms)}
    children = _descriptors(index, "manifests", CHILDREN_MAX)
    platforms = [_platform(entry) for entry in index["manifests"]]
    ranked = [
        (ranks.get(platform, len(ranks)), position)
        for position, (child, platform) in enumerate(zip(children, platforms, strict=True))
        if platform != ("unknown", "unknown") and child.media_type in MANIFEST_TYPES
    ]
    if ranked:
        return children[min(ranked)[1]]
    raise FetchError("ImageUnsupported", "the image's index lists no image")


def code_layer(manifest: dict[str, Any], form: CodeForm = WASM_MODULE) -> Layer:
    """Choose the layer that holds the code; raises FetchError that says what was found instead."""
    layers = layers_of(manifest)
    for layer in layers:
        if layer.media_type in form.layer_types:
            return Layer(layer, any_file)
    if layers and _ARCHIVE_TYPE.fullmatch(layers[-1].media_type):
        return Layer(layers[-1], form.is_in_image)
    if len(layers) == 1:
        return Layer(layers[0], any_file)
    found = ", ".join(layer.media_type for layer in layers) or "no layers"
    raise FetchError(
        "ImageUnsupported",
        f"the image holds no {form.name}: it must have a layer of type {' or '.join(sorted(form.layer_types))}, or "
        f"end in a tar layer with {form.file_name}; it has {found}",
    )


def layers_of(manifest: dict[str, Any]) -> list[Descriptor]:
    """Return the layers of a manifest."""
    return _descriptors(manifest, "layers", LAYERS_MAX)


def _descriptors(document: dict[str, Any], key: str, count_max: int) -> list[Descriptor]:
    entries = document.get(key)
    if not isinstance(entries, list) or len(entries) > count_max:
        raise FetchError("ImageUnsupported", f"the image's manifest must list its {key}, at most {count_max}")
    return [_descriptor(entry, key) for entry in entries]


def _descriptor(entry: Any, key: str) -> Descriptor:
    match entry:
        case {"mediaType": str(media_type), "digest": str(digest), "size": int(size)} if size >= 0:
            named = _DIGEST.fullmatch(digest)
            if named is None:
                raise FetchError("ImageUnsupported", f"the image names one of its {key} by other than a sha256")
            notes = entry.get("annotations")
            return Descriptor(media_type, named[1], size, notes if isinstance(notes, dict) else {})
        case _:
            raise FetchError("ManifestFailed", f"the image's manifest describes one of its {key} in a wrong form")


def _platform(entry: dict[str, Any]) -> tuple[str, str]:
    platform = entry.get("platform")
    if not isinstance(platform, dict):
        return "", ""
    return str(platform.get("os", "")), str(platform.get("architecture", ""))
