"""Bounds in flight, with the real kubectl: it waits, tries again and succeeds."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from skerry.server.auth import TokenRecord, User, digest_of
from skerry.server.inflight import REFUSED, InflightLimits
from skerry.testing.api_server import ApiServerParts, run_api_server

pytestmark = pytest.mark.system

LIMIT = "max_user_requests_inflight"
CONFIGS = "/api/v1/namespaces/default/configmaps"


async def test_kubectl_tries_again_after_a_429_and_writes_once(kubectl: Any, tmp_path: Path) -> None:
    alice = TokenRecord(digest_of("alice"), User("alice"))
    parts = ApiServerParts(tokens=(alice,), limits=InflightLimits(max_user_requests_inflight=1))
    refused = REFUSED.labels(LIMIT)
    release = asyncio.Event()

    async def slow_body() -> AsyncIterator[bytes]:
        yield b"{"
        await release.wait()
        yield b"}"

    async with run_api_server(tmp_path / "narrow", parts) as server:
        admin, path = kubectl.shown(server.kubeconfig), tmp_path / "alice.kubeconfig"
        path.write_text(server.kubeconfig.read_text().replace(server.token, "alice"))
        await admin.ok("create", "rolebinding", "alice", "--clusterrole=edit", "--user=alice")
        trust = ssl.create_default_context(cafile=str(server.authority))
        headers = {"authorization": "Bearer alice", "content-type": "application/json"}
        async with (
            httpx.AsyncClient(base_url=server.at.url, verify=trust, headers=headers, timeout=60) as http,
            asyncio.timeout(60),
            asyncio.TaskGroup() as group,
        ):
            holding = group.create_task(http.post(CONFIGS, content=slow_body()))
            while not server.app.statistics().get("max_mutating_requests_inflight"):  # noqa: ASYNC110 - no event tells
                await asyncio.sleep(0.01)
            before = refused._value.get()
            creating = group.create_task(kubectl.shown(path).ok("create", "configmap", "c"))
            while refused._value.get() == before:  # noqa: ASYNC110 - no event tells
                await asyncio.sleep(0.01)
            assert not creating.done()
            release.set()
            assert await creating == "configmap/c created\n"
            assert (await holding).status_code == 422
        kept = await admin.ok("get", "configmaps", "-o", "name")
        assert kept == "configmap/c\n"
