"""Registries that hang, cut off, lie about lengths, or send what nobody can hold: told by a reason, never kept."""

import asyncio
import hashlib

import orjson
import pytest
from prometheus_client import REGISTRY

from skerry.artifacts.errors import FetchError
from skerry.artifacts.fetching.fetcher import CodeFetcher
from skerry.artifacts.keep import ArtifactKeep
from skerry.testing.images import docker_image
from skerry.testing.scripted_server import (
    Script,
    ScriptedServer,
    endless,
    hang,
    reply,
    reply_in_full,
    reset,
    scripted_server,
)
from tests.contract.artifacts.conftest import MODULE, OpenFetcher, source

IMAGE = docker_image(MODULE)
LAYER = IMAGE.blobs[-1]
MANIFEST_PATH = "/v2/app/manifests/v1"
LAYER_PATH = f"/v2/app/blobs/sha256:{hashlib.sha256(LAYER).hexdigest()}"
GIGABYTE = 2**30

#: What is wrong with an answer, and the reason that tells it.
FAULTS = {
    "hangs": (hang(), "TimedOut"),
    "resets": (reset(), "DownloadFailed"),
    "is shorter than it says": (reply_in_full(200, b"{", content_length="100"), "DownloadFailed"),
    "says it has 1 GB": (reply_in_full(200, b"", content_length=str(GIGABYTE)), "TooLarge"),
    "never ends": (endless(), "TooLarge"),
}


def good() -> dict[str, list[Script]]:
    manifest = reply(200, IMAGE.manifest, content_type=IMAGE.media_type)
    return {"/v2/": [reply(200)], MANIFEST_PATH: [manifest], LAYER_PATH: [reply(200, LAYER)]}


def app(registry: ScriptedServer) -> str:
    return f"127.0.0.1:{registry.port}/app:v1"


@pytest.mark.parametrize("path", [MANIFEST_PATH, LAYER_PATH], ids=["manifest", "layer"])
@pytest.mark.parametrize("fault", FAULTS)
async def test_what_a_registry_does_wrong_is_told_by_its_reason_and_holds_up_no_other(
    path: str, fault: str, open_fetcher: OpenFetcher, keep: ArtifactKeep
) -> None:
    script, reason = FAULTS[fault]
    # Who waits for nobody else waits as long as is usual: what stands still for a while is then not told of as silence.
    patience = {"idle_seconds_max": 3.0, "attempts_max": 1} if reason == "TimedOut" else {"attempts_max": 2}
    fetcher = await open_fetcher(code_bytes_max=8 * 1024 * 1024, **patience)
    async with scripted_server(good() | {path: [script]}) as bad, scripted_server(good()) as fine:
        failing = asyncio.ensure_future(fetcher.fetch(source(app(bad))))
        await bad.asked.wait()
        assert (await fetcher.fetch(source(app(fine)))).size_bytes == len(MODULE)
        with pytest.raises(FetchError) as raised:
            await failing
    assert raised.value.reason == reason
    assert keep.statistics()["artifacts"] == 1


async def test_a_layer_that_its_manifest_calls_too_large_is_not_even_asked_for(open_fetcher: OpenFetcher) -> None:
    document = orjson.loads(IMAGE.manifest)
    document["layers"][-1]["size"] = GIGABYTE
    manifest = reply(200, orjson.dumps(document), content_type=IMAGE.media_type)
    fetcher = await open_fetcher()
    async with scripted_server(good() | {MANIFEST_PATH: [manifest]}) as registry:
        with pytest.raises(FetchError, match="over the limit") as raised:
            await fetcher.fetch(source(app(registry)))
    assert raised.value.reason == "TooLarge"
    assert LAYER_PATH not in registry.paths()


async def test_a_layer_of_another_size_than_its_manifest_says_counts_by_its_digest(fetcher: CodeFetcher) -> None:
    document = orjson.loads(IMAGE.manifest)
    document["layers"][-1]["size"] = 1
    manifest = reply(200, orjson.dumps(document), content_type=IMAGE.media_type)
    async with scripted_server(good() | {MANIFEST_PATH: [manifest]}) as registry:
        assert (await fetcher.fetch(source(app(registry)))).size_bytes == len(MODULE)


async def test_every_registry_is_insecure_where_the_list_says_so(open_fetcher: OpenFetcher) -> None:
    fetcher = await open_fetcher(insecure_registries=frozenset({"*"}))
    async with scripted_server(good()) as registry:
        assert (await fetcher.fetch(source(app(registry)))).size_bytes == len(MODULE)


async def test_looks_into_the_cache_and_known_images_are_counted(fetcher: CodeFetcher) -> None:
    def counts() -> list[float]:
        samples = [("skerry_wasm_cache_lookup_count_total", {"hit": hit}) for hit in ("false", "true")]
        return [REGISTRY.get_sample_value(name, labels) or 0.0 for name, labels in samples]

    misses, hits = counts()
    async with scripted_server(good()) as registry:
        for _ in range(3):
            await fetcher.fetch(source(app(registry)))
    assert counts() == [misses + 1, hits + 2]
    assert REGISTRY.get_sample_value("skerry_wasm_cache_entries") == 1
