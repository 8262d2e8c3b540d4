"""OCI images for tests: every layout that plugins come in, cosign's signatures of them, and a push to a registry.

with RegistryProcess.started(tmp_path) as registry:
    image = wasm_artifact(proxy_wasm_module())
    registry.push("plugins/auth", "v1", image)
"""

import base64
import gzip
import hashlib
import io
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import orjson
import zstandard
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
WASM_LAYER = "application/vnd.module.wasm.content.layer.v1+wasm"
WASM_CONFIG_LAYER = "application/vnd.module.wasm.config.v1+json"
CNCF_LAYER = "application/wasm"
SIMPLE_SIGNING = "application/vnd.dev.cosign.simplesigning.v1+json"
PUSH_SECONDS_MAX = 60.0

SigningKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True)
class Image:
    """A manifest (or an index) and what it names."""

    manifest: bytes
    media_type: str
    blobs: tuple[bytes, ...] = ()
    children: tuple["Image", ...] = ()

    @property
    def digest(self) -> str:
        """The sha256 of the manifest, 64 hexadecimal digits."""
        return hashlib.sha256(self.manifest).hexdigest()


@dataclass(frozen=True)
class LayerOf:
    """A layer of an image to be made."""

    content: bytes
    media_type: str
    annotations: Mapping[str, str] = field(default_factory=dict)


def image_of(*layers: LayerOf, media_type: str = OCI_MANIFEST) -> Image:
    """Make an image of layers."""
    config = b"{}"
    document = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": _descriptor(LayerOf(config, "application/vnd.oci.image.config.v1+json")),
        "layers": [_descriptor(layer) for layer in layers],
    }
    return Image(orjson.dumps(document), media_type, (config, *(layer.content for layer in layers)))


def wasm_artifact(module: bytes) -> Image:
    """Make Istio's artifact: the module as it is, and a layer of metadata."""
    return image_of(LayerOf(module, WASM_LAYER), LayerOf(b"{}", WASM_CONFIG_LAYER))


def cncf_artifact(module: bytes) -> Image:
    """Make the CNCF's artifact: one layer of application/wasm."""
    return image_of(LayerOf(module, CNCF_LAYER))


def docker_image(module: bytes) -> Image:
    """Make what `docker build` makes of `COPY plugin.wasm ./`."""
    return image_of(LayerOf(gzip.compress(tar_of("plugin.wasm", module)), DOCKER_LAYER), media_type=DOCKER_MANIFEST)


def oci_image(module: bytes, *, packed: str = "+gzip", name: str = "./plugin.wasm") -> Image:
    """Make an OCI image whose last layer is an archive: "" for plain tar, "+gzip" or "+zstd"."""
    archive = tar_of(name, module)
    packs: dict[str, Callable[[bytes], bytes]] = {"": bytes, "+gzip": gzip.compress, "+zstd": zstandard.compress}
    base = LayerOf(gzip.compress(tar_of("readme", b"base")), OCI_LAYER + "+gzip")
    return image_of(base, LayerOf(packs[packed](archive), OCI_LAYER + packed))


def index_of(children: Mapping[tuple[str, str], Image], *, media_type: str = OCI_INDEX) -> Image:
    """Make an index of images by operating system and architecture."""
    entries = [
        _named(child.manifest, child.media_type) | {"platform": {"os": system, "architecture": architecture}}
        for (system, architecture), child in children.items()
    ]
    document = {"schemaVersion": 2, "mediaType": media_type, "manifests": entries}
    return Image(orjson.dumps(document), media_type, children=tuple(children.values()))


def tar_of(name: str, content: bytes) -> bytes:
    """Return a tar of one file."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        entry = tarfile.TarInfo(name)
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def sign(key: SigningKey, content: bytes) -> str:
    """Sign as `cosign sign-blob` does; returns base64."""
    match key:
        case ec.EllipticCurvePrivateKey():
            raw = key.sign(content, ec.ECDSA(SHA256()))
        case ed25519.Ed25519PrivateKey():
            raw = key.sign(content)
        case rsa.RSAPrivateKey():
            raw = key.sign(content, padding.PKCS1v15(), SHA256())
    return base64.b64encode(raw).decode()


def cosign_signature(key: SigningKey, digest: str) -> Image:
    """Make the image that `cosign sign --key` pushes for the manifest of a digest; its tag is `signature_tag_of`."""
    payload = orjson.dumps({
        "critical": {
            "identity": {"docker-reference": "registry.example/any"},
            "image": {"docker-manifest-digest": f"sha256:{digest}"},
            "type": "cosign container image signature",
        },
        "optional": None,
    })  # fmt: skip
    annotations = {"dev.cosignproject.cosign/signature": sign(key, payload)}
    return image_of(LayerOf(payload, SIMPLE_SIGNING, annotations))


def signature_tag_of(digest: str) -> str:
    """Return the tag at which cosign keeps signatures."""
    return f"sha256-{digest}.sig"


def push(registry: httpx.Client, repository: str, reference: str, image: Image) -> None:
    """Push an image and all that it names.

    Args:
        registry: a client whose base URL is the registry's, with its credentials.
        repository: such as `plugins/auth`.
        reference: a tag, or `sha256:...`.
        image: what to push.
    """
    for child in image.children:
        push(registry, repository, f"sha256:{child.digest}", child)
    for blob in image.blobs:
        started = registry.post(f"/v2/{repository}/blobs/uploads/").raise_for_status()
        place = httpx.URL(started.headers["location"]).copy_merge_params(
            {"digest": f"sha256:{hashlib.sha256(blob).hexdigest()}"}
        )
        registry.put(place, content=blob, headers={"content-type": "application/octet-stream"}).raise_for_status()
    path = f"/v2/{repository}/manifests/{reference}"
    registry.put(path, content=image.manifest, headers={"content-type": image.media_type}).raise_for_status()


def _descriptor(layer: LayerOf) -> dict[str, Any]:
    notes = {"annotations": dict(layer.annotations)} if layer.annotations else {}
    return _named(layer.content, layer.media_type) | notes


def _named(content: bytes, media_type: str) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": f"sha256:{hashlib.sha256(content).hexdigest()}", "size": len(content)}
