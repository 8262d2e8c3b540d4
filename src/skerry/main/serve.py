"""`skerry serve`: the control plane without a node, one of any number of replicas on one database.

Owns the wiring and the order of start and stop. Every replica answers every request of the API; one of them runs the
controllers.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from skerry.engine.component import check_component
from skerry.kit.clock import SystemClock
from skerry.kit.cycles import look_for_cycles_rarely
from skerry.kit.ids import RandomIds
from skerry.main import data_dir as directories
from skerry.main.bootstrap import ensure_class
from skerry.main.building import component_of
from skerry.main.configuration import Settings
from skerry.main.control_plane import api_server, duties, laid_ground
from skerry.main.data_dir import DataDir
from skerry.main.leading import one_of_all
from skerry.main.ports import held_address
from skerry.main.process import Running


@asynccontextmanager
async def replica(settings: Settings, data_dir: DataDir) -> AsyncIterator[Running]:
    """Start all parts, lowest first; stop them in the opposite order."""
    check_component(component_of(settings))  # here: another process may lead, and use it for long before this one does
    async with AsyncExitStack() as stack:
        address = await stack.enter_async_context(held_address(settings.api_address, "--api-address"))
        ground = await stack.enter_async_context(laid_ground(settings, data_dir))
        await ensure_class(ground.client)
        api_url = await stack.enter_async_context(api_server(settings, data_dir, ground, address))
        sockets = stack.enter_context(directories.run_dir(data_dir))
        lead = partial(duties, settings, data_dir, ground, sockets, api_port=address.port)
        alone = not ground.is_shared
        await stack.enter_async_context(one_of_all(lead, ground.client, SystemClock(), RandomIds(), alone=alone))
        look_for_cycles_rarely()
        yield Running(api_url, "", data_dir.kubeconfig)
