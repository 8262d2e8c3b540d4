"""Bounds in flight: what is refused, what never is, and that nothing is counted for longer than it lasts."""

import asyncio
import ssl
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from skerry.api.errors import TooManyRequests
from skerry.kit.errors import ConfigurationError
from skerry.server.auth import ADMINISTRATORS, BAETYL_NODES, TokenRecord, User, digest_of
from skerry.server.inflight import Inflight, InflightLimits
from skerry.testing.api_server import ApiServer, ApiServerParts, run_api_server
from skerry.testing.waiting import SECONDS_MAX

ALICE, BOB, ADMIN = User("alice"), User("bob"), User("admin", groups=(ADMINISTRATORS,))
LIMITS = InflightLimits(3, 2, 3, 2, 2)
CONFIGS = "/api/v1/namespaces/default/configmaps"


def test_the_bound_of_all_is_named_and_holds_for_reads_and_writes_apart() -> None:
    inflight = Inflight(LIMITS)
    with inflight.request(ALICE, "POST"), inflight.request(BOB, "DELETE"):
        why = "too many requests, please try again later: max_mutating_requests_inflight is 2"
        with pytest.raises(TooManyRequests, match=why), inflight.request(User("carol"), "PATCH"):
            pass
        with inflight.request(ALICE, "GET"):
            pass
    with inflight.request(User("carol"), "PATCH"):
        pass


def test_nodes_of_a_fleet_have_a_bound_of_their_own() -> None:
    inflight = Inflight(InflightLimits(1, 1, 1, 1, 1, 2))
    nodes = [User(f"node-{number}", groups=(BAETYL_NODES,)) for number in range(3)]
    with inflight.request(nodes[0], "POST"), inflight.request(nodes[1], "POST"):
        with pytest.raises(TooManyRequests, match="max_node_requests_inflight is 2"), inflight.request(nodes[2], "GET"):
            pass
        with inflight.request(ALICE, "POST"), pytest.raises(TooManyRequests), inflight.request(BOB, "POST"):
            pass


@pytest.mark.parametrize("what", ["requests", "streams"])
def test_a_user_at_its_bound_is_refused_and_others_are_not(what: str) -> None:
    inflight = Inflight(LIMITS)

    def enter(held: ExitStack, user: User) -> None:
        held.enter_context(inflight.stream(user) if what == "streams" else inflight.request(user, "GET"))

    with ExitStack() as held:
        enter(held, ALICE)
        enter(held, ALICE)
        with pytest.raises(TooManyRequests, match=f"max_user_{what}_inflight is 2"):
            enter(held, ALICE)
        enter(held, BOB)
        with pytest.raises(TooManyRequests, match=f"max_{what}_inflight is 3"):
            enter(held, BOB)
        for _ in range(5):
            enter(held, ADMIN)


def test_nothing_stays_counted() -> None:
    inflight = Inflight(LIMITS)
    with pytest.raises(RuntimeError), inflight.request(ALICE, "GET"):
        raise RuntimeError
    with inflight.stream(BOB):
        assert inflight.statistics()["users"] == 1
    assert not any(inflight.statistics().values())


def test_a_bound_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="max_streams_inflight: must be above 0, not 0"):
        InflightLimits(max_streams_inflight=0)


def client(server: ApiServer, token: str) -> httpx.AsyncClient:
    trust = ssl.create_default_context(cafile=str(server.authority))
    return httpx.AsyncClient(
        base_url=server.at.url, verify=trust, headers={"authorization": f"Bearer {token}"}, timeout=SECONDS_MAX
    )


async def test_a_stream_over_the_bound_is_a_429_that_says_when_to_come_back(tmp_path: Path) -> None:
    watcher = TokenRecord(digest_of("watcher"), User("watcher"))
    parts = ApiServerParts(tokens=(watcher,), limits=InflightLimits(max_user_streams_inflight=1))
    async with run_api_server(tmp_path, parts) as server, client(server, server.token) as admin:
        subject = {"kind": "User", "name": "watcher", "apiGroup": "rbac.authorization.k8s.io"}
        role = {"kind": "ClusterRole", "name": "view", "apiGroup": "rbac.authorization.k8s.io"}
        binding = {"metadata": {"name": "watcher"}, "roleRef": role, "subjects": [subject]}
        made = await admin.post("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", json=binding)
        assert made.status_code == 201
        async with client(server, "watcher") as http:
            async with http.stream("GET", f"{CONFIGS}?watch=true"):
                refused = await http.get(f"{CONFIGS}?watch=true")
                assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
                told = refused.json()
                assert (told["reason"], told["details"]) == ("TooManyRequests", {"retryAfterSeconds": 1})
                assert "max_user_streams_inflight is 1" in told["message"]
                assert (await http.get(CONFIGS)).status_code == 200
            async with asyncio.timeout(60):
                while server.app.statistics()["max_streams_inflight"]:  # noqa: ASYNC110 - no event tells
                    await asyncio.sleep(0.01)
            assert (await http.get(f"{CONFIGS}?watch=true&timeoutSeconds=1")).status_code == 200
