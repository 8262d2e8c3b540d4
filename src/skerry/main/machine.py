"""What serves the Gateways of a node that has joined a fleet: the wiring of its Envoy and engine workers.

The same node as that of `skerry up`, on another client: what it reads is its replica, and code comes to a keep of its
own. Decides nothing.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from skerry.agent.functions import ArtifactSource
from skerry.agent.member.gateways import Machine, Metrics
from skerry.agent.member.settings import MemberSettings
from skerry.api.baetyl_v1alpha1 import NODE_NAME_LABEL
from skerry.artifacts.folder import FolderKeep
from skerry.client.client import Client
from skerry.kit.clock import SystemClock
from skerry.kit.ids import RandomIds
from skerry.main.artifacts import code_in_use
from skerry.main.configuration import bundled_js_engine
from skerry.main.data_dir import DataDir, run_dir

#: Below the agent's own data directory.
FOLDER = "gateways"
#: How long Envoy may take to be configured on a slow device, where the engine has to be compiled first.
START_SECONDS_MAX = 300.0


def machine_of(settings: MemberSettings) -> Machine:
    """Return what serves Gateways here."""
    data_dir = DataDir(settings.data_dir / FOLDER)
    keep = FolderKeep(
        data_dir.artifacts,
        bytes_max=settings.artifacts_bytes_max,
        is_cache=True,
        in_use=partial(code_in_use, data_dir.functions),
    )
    return Machine(keep, partial(_plane, settings, data_dir), data_dir.logs / "functions", SystemClock())


@asynccontextmanager
async def _plane(
    settings: MemberSettings, data_dir: DataDir, node: str, client: Client, artifacts: ArtifactSource
) -> AsyncIterator[Metrics]:
    # Here: a node that runs no Gateway does without Envoy's messages and the engine, some 60 MB.
    from skerry.agent.agent import AgentSettings, run_agent
    from skerry.engine.workers import WorkerSettings
    from skerry.gateway.envoy_bootstrap import EnvoySettings

    with run_dir(data_dir) as sockets:
        workers = WorkerSettings(
            run_dir=sockets,
            functions_dir=data_dir.functions,
            logs_dir=data_dir.logs / "functions",
            kv_file=data_dir.key_values,
            engine_cache=settings.engine_cache or data_dir.root / "cache" / "engine",
            component=_component(),
            count=settings.engine_workers or os.cpu_count() or 1,
            egress_file=data_dir.egress_policies,
        )
        envoy = EnvoySettings(
            node_id=node, run_directory=sockets, log_directory=data_dir.logs, xds_socket=str(sockets / "xds.sock")
        )
        node_settings = AgentSettings(
            functions_dir=data_dir.functions,
            plugins_dir=data_dir.plugins,
            filters_dir=data_dir.filters,
            egress_file=data_dir.egress_policies,
            workers=workers,
            envoy=envoy,
            default_address=settings.gateway_address,
            labels={NODE_NAME_LABEL: node},
            root_namespace=settings.root_namespace,
            start_seconds_max=START_SECONDS_MAX,
            joined=True,
        )
        async with run_agent(node_settings, client, artifacts, SystemClock(), RandomIds()) as agent:
            yield agent.metrics.exposition


def _component() -> Path:
    return bundled_js_engine() / "dist" / "skerry-js-engine.wasm"
