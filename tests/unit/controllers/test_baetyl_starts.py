"""Applications begin when their time comes."""

import datetime as dt

from skerry.api.baetyl_application_rules import CRON_BEGUN
from skerry.api.baetyl_application_spec import ApplicationSpec
from skerry.api.baetyl_applications import Application
from skerry.api.model import ObjectMeta
from skerry.api.selectors import EVERYTHING, parse_label_selector
from skerry.client.client import Client
from skerry.client.informers import Informers
from skerry.controllers.baetyl_starts import ApplicationStarts
from skerry.fleet.applications import facts_of
from skerry.kit.clock import SystemClock, rfc3339
from skerry.testing.control_plane import memory_control_plane
from skerry.testing.informed import shown


async def waiting(client: Client, name: str, seconds: float) -> Application:
    """Make an application that is to begin so many seconds from now."""
    time = rfc3339(SystemClock().now() + dt.timedelta(seconds=seconds))
    spec = ApplicationSpec(type="yaml", selector="site=lyon", cron_status=1, cron_time=time)
    return await client.create(Application(metadata=ObjectMeta(name=name, namespace="default"), spec=spec))


async def test_an_application_begins_when_its_time_comes_and_no_other_does() -> None:
    async with memory_control_plane() as client:
        informers = Informers(client)
        applications = informers.of(Application)
        await waiting(client, "past", -10)
        later = await waiting(client, "later", 3600)
        async with ApplicationStarts(client, informers, SystemClock()).running(), informers.running():
            await waiting(client, "soon", 1)
            for name in ("past", "soon"):
                begun = await shown(applications, name, lambda found: found.spec.cron_status == CRON_BEGUN)
                assert facts_of(begun).selector == parse_label_selector("site=lyon")
            left = applications.get("later", "default")
            assert left is not None
            assert left.metadata.resource_version == later.metadata.resource_version


async def test_an_application_that_waits_is_bound_to_no_node() -> None:
    async with memory_control_plane() as client:
        assert facts_of(await waiting(client, "later", 3600)).selector == EVERYTHING
