"""The status of an EgressPolicy tells which functions it is about now."""

import asyncio
import json

from skerry.api.decoding import decode
from skerry.api.egress_policy_v1alpha1 import EgressPolicy, EgressPolicySpec
from skerry.api.extensions_v1alpha2 import EDGE_FUNCTION, EdgeFunction
from skerry.api.label_selector import LabelSelector
from skerry.api.model import ObjectMeta
from skerry.client.client import Client
from skerry.client.informers import Informers
from skerry.controllers.egress_policies import EgressPolicyController
from skerry.testing.clock import FakeClock
from skerry.testing.control_plane import STATE_SECONDS_MAX
from skerry.testing.manifests import edge_function


def function(name: str) -> EdgeFunction:
    document = json.loads(edge_function(name, "export default {};"))
    document["metadata"]["labels"] = {"team": "red"}
    return decode(EDGE_FUNCTION, document).object


async def test_the_status_counts_and_names_what_is_selected_now(client: Client):
    informers, changed = Informers(client), asyncio.Event()
    informers.of(EgressPolicy).on_change(lambda _: changed.set())
    controller = EgressPolicyController(client, informers, FakeClock())
    spec = EgressPolicySpec(selector=LabelSelector(match_labels={"team": "red"}))
    await client.create(EgressPolicy(metadata=ObjectMeta(name="red"), spec=spec))

    async def until(count: int, status: str, named: str) -> None:
        async with asyncio.timeout(STATE_SECONDS_MAX):
            while True:
                changed.clear()
                told = (await client.get(EgressPolicy, "red")).status
                if told.selected_functions == count:
                    (condition,) = told.conditions or []
                    assert (condition.type, condition.status) == ("Selected", status)
                    assert named in condition.message
                    return
                await changed.wait()

    async with controller.running(), informers.running():
        await until(0, "False", "no function")
        await client.create(function("a"))
        await until(1, "True", "a")
        for number in range(25):
            await client.create(function(f"f{number:02}"))
        await until(26, "True", "and 6 more")
