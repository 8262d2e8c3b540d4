import os
from pathlib import Path

import pytest

from skerry.gateway.envoy import find_envoy, run_envoy
from skerry.gateway.envoy_bootstrap import EnvoySettings, bootstrap
from skerry.kit.errors import StartError


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
