"""Fetching from a real registry: every layout, credentials, TLS, pins, signatures."""

from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from skerry.artifacts.errors import FetchError, SignatureError
from skerry.artifacts.fetching.fetcher import CodeFetcher
from skerry.artifacts.keep import ArtifactKeep
from skerry.testing.images import (
    DOCKER_LIST,
    OCI_INDEX,
    Image,
    LayerOf,
    cncf_artifact,
    cosign_signature,
    docker_image,
    image_of,
    index_of,
    oci_image,
    signature_tag_of,
    wasm_artifact,
)
from skerry.testing.registry_process import RegistryProcess
from skerry.testing.wasm import proxy_wasm_module
from tests.contract.artifacts.conftest import MODULE, OpenFetcher, source

KEY = ec.generate_private_key(ec.SECP256R1())
PEM = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryProcess]:
    with RegistryProcess.started(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryProcess]:
    """A registry with TLS, which asks for a password."""
    with RegistryProcess.started(tmp_path_factory.mktemp("guarded"), password=True, tls=True) as running:
        running.push("team/app", "v1", wasm_artifact(MODULE))
        yield running


LAYOUTS = {
    "docker": docker_image(MODULE),
    "oci-gzip": oci_image(MODULE),
    "oci-zstd": oci_image(MODULE, packed="+zstd"),
    "oci-tar": oci_image(MODULE, packed="", name="plugin.wasm"),
    "istio-artifact": wasm_artifact(MODULE),
    "cncf-artifact": cncf_artifact(MODULE),
    "one-wasm-layer": image_of(LayerOf(MODULE, "application/vnd.module.wasm.content.layer.v1+wasm")),
    "plain": image_of(LayerOf(MODULE, "application/octet-stream")),
}


@pytest.mark.parametrize("layout", LAYOUTS)
async def test_a_module_comes_out_of_every_layout(
    layout: str, registry: RegistryProcess, fetcher: CodeFetcher, keep: ArtifactKeep
) -> None:
    image = LAYOUTS[layout]
    registry.push(f"layouts/{layout}", "v1", image)
    fetched = await fetcher.fetch(source(f"{registry.host}/layouts/{layout}:v1"))
    assert await keep.read(fetched.digest) == MODULE
    assert fetched.size_bytes == len(MODULE)
    assert fetched.url == f"oci://{registry.host}/layouts/{layout}:v1@sha256:{image.digest}"


@pytest.mark.parametrize("media_type", [OCI_INDEX, DOCKER_LIST])
async def test_of_an_index_the_image_for_linux_amd64_is_taken(
    media_type: str, registry: RegistryProcess, fetcher: CodeFetcher, keep: ArtifactKeep
) -> None:
    other = oci_image(proxy_wasm_module(b"another"))
    children = {("linux", "arm64"): other, ("linux", "amd64"): oci_image(MODULE)}
    registry.push("indexes/app", "v1", index_of(children, media_type=media_type))
    fetched = await fetcher.fetch(source(f"oci://{registry.host}/indexes/app:v1"))
    assert await keep.read(fetched.digest) == MODULE


async def test_a_pin_may_be_the_digest_of_the_manifest_or_of_its_index(
    registry: RegistryProcess, fetcher: CodeFetcher
) -> None:
    image = oci_image(MODULE)
    index = index_of({("linux", "amd64"): image})
    registry.push("pins/app", "v1", index)
    url = f"{registry.host}/pins/app"
    for pinned in (
        source(f"{url}:v1", sha256=image.digest),
        source(f"{url}:v1", sha256=index.digest),
        source(f"{url}@sha256:{image.digest}"),
        source(f"{url}@sha256:{index.digest}"),
        source(f"{url}:gone@sha256:{index.digest}", sha256=index.digest),
    ):
        assert (await fetcher.fetch(pinned)).size_bytes == len(MODULE)


async def test_an_image_that_is_not_the_pinned_one_is_refused(registry: RegistryProcess, fetcher: CodeFetcher) -> None:
    registry.push("pins/other", "v1", wasm_artifact(MODULE))
    with pytest.raises(FetchError, match="asked for") as raised:
        await fetcher.fetch(source(f"{registry.host}/pins/other:v1", sha256="ab" * 32))
    assert raised.value.reason == "DigestMismatch"


@pytest.mark.parametrize(
    "what", ["pins/none:v1", "never/was:v1", "never/was@sha256:" + "ab" * 32], ids=["tag", "repository", "digest"]
)
async def test_an_image_that_is_not_there_is_told_by_name(
    what: str, registry: RegistryProcess, fetcher: CodeFetcher
) -> None:
    with pytest.raises(FetchError, match=f"has no {registry.host}/{what}") as raised:
        await fetcher.fetch(source(f"{registry.host}/{what}"))
    assert raised.value.reason == "NotFound"


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (wasm_artifact(b"no module"), "NotWasm"),
        (wasm_artifact(MODULE[:-5]), "NotWasm"),
        (wasm_artifact(proxy_wasm_module(export="_start")), "NotProxyWasm"),
        (oci_image(MODULE, name="other.wasm"), "NotWasm"),
        (image_of(), "ImageUnsupported"),
    ],
    ids=["no module", "cut", "no exports", "no plugin.wasm", "no layers"],
)
async def test_an_image_without_a_plugin_is_not_kept(
    image: Image, reason: str, registry: RegistryProcess, fetcher: CodeFetcher, keep: ArtifactKeep
) -> None:
    registry.push("bad/app", reason.lower(), image)
    with pytest.raises(FetchError) as raised:
        await fetcher.fetch(source(f"{registry.host}/bad/app:{reason.lower()}"))
    assert raised.value.reason == reason
    assert keep.statistics()["artifacts"] == 0


async def test_layers_of_a_known_image_are_not_downloaded_again(
    registry: RegistryProcess, fetcher: CodeFetcher
) -> None:
    registry.push("known/app", "v1", docker_image(MODULE))
    first = await fetcher.fetch(source(f"{registry.host}/known/app:v1"))
    assert await fetcher.fetch(source(f"{registry.host}/known/app:v1")) == first
    assert len(registry.requests("GET /v2/known/app/blobs/")) == 1


async def test_what_was_known_before_a_restart_is_remembered(
    registry: RegistryProcess, fetcher: CodeFetcher, open_fetcher: OpenFetcher
) -> None:
    registry.push("restart/app", "v1", docker_image(MODULE))
    first = await fetcher.fetch(source(f"{registry.host}/restart/app:v1"))
    restarted: CodeFetcher = await open_fetcher()
    restarted.remember(first.url, first.digest)
    assert await restarted.fetch(source(f"{registry.host}/restart/app:v1")) == first
    assert len(registry.requests("GET /v2/restart/app/blobs/")) == 1


async def test_a_moved_tag_brings_the_new_image(
    registry: RegistryProcess, fetcher: CodeFetcher, keep: ArtifactKeep
) -> None:
    moved = proxy_wasm_module(b"moved")
    registry.push("moved/app", "v1", docker_image(MODULE))
    await fetcher.fetch(source(f"{registry.host}/moved/app:v1"))
    registry.push("moved/app", "v1", docker_image(moved))
    assert await keep.read((await fetcher.fetch(source(f"{registry.host}/moved/app:v1"))).digest) == moved


async def test_a_registry_with_a_password_and_tls_is_fetched_from(
    guarded: RegistryProcess, open_fetcher: OpenFetcher
) -> None:
    fetcher = await open_fetcher(ca_file=guarded.ca_file)
    url = f"{guarded.host}/team/app:v1"
    fetched = await fetcher.fetch(source(url, docker_config=guarded.docker_config))
    assert fetched.size_bytes == len(MODULE)


async def test_the_docker_configuration_of_the_control_plane_is_used_where_a_source_brings_none(
    guarded: RegistryProcess, open_fetcher: OpenFetcher, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_bytes(guarded.docker_config)
    fetcher = await open_fetcher(ca_file=guarded.ca_file, docker_config=tmp_path / "config.json")
    url = f"{guarded.host}/team/app:v1"
    assert (await fetcher.fetch(source(url))).size_bytes == len(MODULE)
    with pytest.raises(FetchError, match="without credentials"):
        await fetcher.fetch(source(url, docker_config=b'{"auths": {}}'))


@pytest.mark.parametrize("password", [None, "wrong"])
async def test_a_registry_refuses_who_has_no_right(
    password: str | None, guarded: RegistryProcess, open_fetcher: OpenFetcher
) -> None:
    fetcher = await open_fetcher(ca_file=guarded.ca_file)
    auths = {guarded.host: {"username": "skerry-test", "password": password}} if password else {}
    with pytest.raises(FetchError, match="refuses") as raised:
        await fetcher.fetch(source(f"{guarded.host}/team/app:v1", docker_config=orjson.dumps({"auths": auths})))
    assert raised.value.reason == "Unauthorized"
    assert "wrong" not in raised.value.public


async def test_a_registry_whose_certificate_nobody_trusts_is_refused_unless_it_is_listed(
    guarded: RegistryProcess, open_fetcher: OpenFetcher
) -> None:
    asked = source(f"{guarded.host}/team/app:v1", docker_config=guarded.docker_config)
    with pytest.raises(FetchError, match="certificate"):
        await (await open_fetcher()).fetch(asked)
    listed = await open_fetcher(insecure_registries=frozenset({guarded.host}))
    assert (await listed.fetch(asked)).size_bytes == len(MODULE)


async def test_a_signed_image_is_accepted_with_its_key(registry: RegistryProcess, fetcher: CodeFetcher) -> None:
    image = docker_image(MODULE)
    registry.push("signed/app", "v1", image)
    registry.push("signed/app", signature_tag_of(image.digest), cosign_signature(KEY, image.digest))
    assert await fetcher.fetch(source(f"{registry.host}/signed/app:v1", verification_key=PEM))


async def test_the_signature_of_an_index_counts_for_its_image(registry: RegistryProcess, fetcher: CodeFetcher) -> None:
    index = index_of({("linux", "amd64"): docker_image(MODULE)})
    registry.push("signed/index", "v1", index)
    registry.push("signed/index", signature_tag_of(index.digest), cosign_signature(KEY, index.digest))
    assert await fetcher.fetch(source(f"{registry.host}/signed/index:v1", verification_key=PEM))


@pytest.mark.parametrize("fault", ["missing", "of another key", "of another image", "of no key"])
async def test_an_image_that_is_not_signed_as_asked_is_not_kept(
    fault: str, registry: RegistryProcess, fetcher: CodeFetcher, keep: ArtifactKeep
) -> None:
    repository = f"unsigned/{fault.replace(' ', '-')}"
    image = docker_image(proxy_wasm_module(fault.encode()))
    registry.push(repository, "v1", image)
    key = ec.generate_private_key(ec.SECP256R1()) if fault == "of another key" else KEY
    signed = "ab" * 32 if fault == "of another image" else image.digest
    if fault != "missing":
        registry.push(repository, signature_tag_of(image.digest), cosign_signature(key, signed))
    pem = "no key" if fault == "of no key" else PEM
    with pytest.raises(SignatureError):
        await fetcher.fetch(source(f"{registry.host}/{repository}:v1", verification_key=pem))
    assert keep.statistics()["artifacts"] == 0
