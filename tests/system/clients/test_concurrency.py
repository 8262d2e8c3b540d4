"""Many clients at once: no write is lost, and all who watch see one order."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import kubernetes
import pytest

from skerry.server.verbs.turns import RACES_MAX
from skerry.testing.api_server import ApiServer

pytestmark = pytest.mark.system

LOOPS = 20


@pytest.fixture
def new_core(server: ApiServer) -> Callable[[], Any]:
    """Make a client with connections of its own."""
    loading: Any = kubernetes.config  # untyped
    client: Any = kubernetes.client
    return lambda: client.CoreV1Api(loading.new_client_from_config(str(server.kubeconfig)))


def count_up(core: Any) -> None:
    """Add one, as every controller does: read, change, write, and begin again where another was quicker."""
    while True:
        counter = core.read_namespaced_config_map("counter", "default")
        counter.data = {"count": str(int(counter.data["count"]) + 1)}
        try:
            core.replace_namespaced_config_map("counter", "default", counter)
        except kubernetes.client.ApiException as error:
            assert error.status == 409  # noqa: PT017 - every other one ends the loop
        else:
            return


def changes(core: Any, version: str) -> list[tuple[str, str, str]]:
    """Watch until the counter stands at its end; return what was seen."""
    watch: Any = kubernetes.watch  # untyped
    watcher, seen = watch.Watch(), []
    for event in watcher.stream(core.list_namespaced_config_map, "default", resource_version=version):
        found = event["object"]
        seen.append((event["type"], found.metadata.resource_version, found.data["count"]))
        if found.data["count"] == str(LOOPS):
            watcher.stop()
    return seen


def test_concurrent_read_modify_write_loops_lose_nothing_and_watchers_see_one_order(
    new_core: Callable[[], Any],
) -> None:
    core = new_core()
    made = core.create_namespaced_config_map("default", {"metadata": {"name": "counter"}, "data": {"count": "0"}})
    version = made.metadata.resource_version
    with ThreadPoolExecutor(LOOPS + 2) as threads:
        watchers = [threads.submit(changes, new_core(), version) for _ in range(2)]
        for loop in [threads.submit(count_up, new_core()) for _ in range(LOOPS)]:
            loop.result()
        one, other = (watcher.result() for watcher in watchers)
    assert core.read_namespaced_config_map("counter", "default").data == {"count": str(LOOPS)}
    assert one == other
    assert [count for _, _, count in one] == [str(number + 1) for number in range(LOOPS)]


def test_concurrent_patches_without_a_version_all_land(new_core: Callable[[], Any]) -> None:
    core = new_core()
    core.create_namespaced_config_map("default", {"metadata": {"name": "shared"}})
    keys = [f"k{number}" for number in range(2 * RACES_MAX)]  # who went last could have lost more races than it may

    def set_key(key: str) -> None:
        new_core().patch_namespaced_config_map("shared", "default", {"data": {key: "x"}})

    with ThreadPoolExecutor(len(keys)) as threads:
        for done in [threads.submit(set_key, key) for key in keys]:
            done.result()
    assert core.read_namespaced_config_map("shared", "default").data == dict.fromkeys(keys, "x")
