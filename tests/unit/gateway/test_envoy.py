import errno
import os
import shutil
from pathlib import Path

import httpx
import pytest

from skerry.gateway.envoy import OUTPUT_BYTES_MAX, Envoy, find_envoy, run_envoy
from skerry.gateway.envoy_bootstrap import EnvoySettings, bootstrap
from skerry.kit.errors import StartError
from skerry.kit.processes import Command, Supervised


def settings(directory: Path) -> EnvoySettings:
    return EnvoySettings("node-1", directory / "run", directory / "logs", str(directory / "xds.sock"))


def test_the_binary_is_found_through_its_distribution() -> None:
    assert os.access(find_envoy(), os.X_OK)


def test_admin_and_xds_are_on_unix_sockets_only(tmp_path: Path) -> None:
    message = bootstrap(settings(tmp_path))
    assert message.admin.address.pipe.path == str(tmp_path / "run" / "envoy-admin.sock")
    assert message.admin.address.pipe.mode == 0o600
    [cluster] = message.static_resources.clusters
    [endpoint] = cluster.load_assignment.endpoints[0].lb_endpoints
    assert endpoint.endpoint.address.pipe.path == str(tmp_path / "xds.sock")
    assert not message.static_resources.listeners


async def test_a_directory_that_is_too_deep_for_a_socket_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="use a shorter data directory"):
        async with run_envoy(settings(tmp_path / ("d" * 100))):
            pass


async def test_an_envoy_that_hears_no_xds_server_is_not_ready(tmp_path: Path) -> None:
    async with run_envoy(settings(tmp_path)) as envoy:
        with pytest.raises(StartError, match="is not live after"):
            await envoy.ready(timeout_seconds=0.3)


def beside(admin: httpx.MockTransport, kept: EnvoySettings) -> Envoy:
    """What looks after the files of an Envoy whose admin interface the test speaks for."""
    kept.log_directory.mkdir()
    client = httpx.AsyncClient(transport=admin, base_url="http://envoy")
    return Envoy(kept, Supervised(Command("envoy", ())), client)


async def test_an_envoy_that_did_not_hear_that_its_log_was_moved_is_told_again(tmp_path: Path) -> None:
    asked: list[str] = []

    def admin(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        return httpx.Response(503 if len(asked) == 1 else 200)

    kept = settings(tmp_path)
    envoy = beside(httpx.MockTransport(admin), kept)
    with kept.access_log.open("w") as file:
        file.truncate(kept.log_bytes_max)
    with pytest.raises(httpx.HTTPStatusError):
        await envoy.rotate_logs()
    assert not kept.access_log.exists()
    for _ in range(2):
        await envoy.rotate_logs()
    assert asked == ["/reopen_logs"] * 2


async def test_what_envoy_prints_and_its_logs_are_bounded_on_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    kept = settings(tmp_path)
    envoy = beside(httpx.MockTransport(lambda _: httpx.Response(200)), kept)
    monkeypatch.setattr(shutil, "copyfile", full)
    for path, size in ((kept.output_file, OUTPUT_BYTES_MAX + 1), (kept.access_log, kept.log_bytes_max)):
        with path.open("w") as file:
            file.truncate(size)
    await envoy.rotate_logs()
    assert kept.output_file.stat().st_size == 0
    assert not kept.access_log.exists()
