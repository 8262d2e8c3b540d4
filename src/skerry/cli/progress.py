"""Applying objects and waiting for them, with progress."""

import asyncio

from skerry.api.errors import ApiError
from skerry.api.extensions_v1alpha2 import EDGE_FUNCTION, EdgeFunction
from skerry.api.model import condition_of, from_document
from skerry.cli.connection import Access, connected
from skerry.cli.manifests import Manifest, apply_document, target_of
from skerry.cli.printing import err, out, spoken
from skerry.client.http import HttpTransport
from skerry.client.transport import Target
from skerry.kit.deadlines import within
from skerry.kit.errors import SkerryError

#: How long a function that `skerry up --apply` applied may take.
READY_SECONDS_MAX = 60.0
POLL_SECONDS = 0.1


async def apply_and_wait(access: Access, manifests: list[Manifest], http_url: str) -> None:
    """Apply objects to the Skerry that just came up; a bad one is told and leaves it running."""
    async with connected(access) as http:
        transport = HttpTransport(http)
        for manifest in manifests:
            target = target_of(manifest, access.namespace)
            try:
                outcome = await apply_document(transport, target, manifest.document)
                out.print(f"{spoken(target)} {outcome}")
                if target.kind is EDGE_FUNCTION:
                    await wait_until_ready(transport, target.name, READY_SECONDS_MAX)
                    out.print(f"  {function_url(http_url, target.name)}")
            except (ApiError, SkerryError) as error:
                err.print(f"error: {error.public}")


def function_url(http_url: str, name: str) -> str:
    """Return the address that a function has of its own."""
    return f"http://{name}.functions.localhost:{http_url.rpartition(':')[2].rstrip('/')}/"


async def wait_until_ready(transport: HttpTransport, name: str, timeout_seconds: float) -> None:
    """Wait until a function's present template serves; raises SkerryError that says why it does not."""
    with err.status(f"waiting for edgefunction/{name} to be ready"):
        try:
            with within(timeout_seconds):
                function = await _until_settled(transport, name)
        except TimeoutError as error:
            raise SkerryError(f"edgefunction/{name} was not ready within {timeout_seconds:g}s") from error
    latest = condition_of(function.status.conditions, "Latest")
    if latest and latest.status == "False":
        raise SkerryError(f"edgefunction/{name}: {latest.message}")
    out.print(f"edgefunction/{name} ready, revision {function.status.live_revision}")


async def _until_settled(transport: HttpTransport, name: str) -> EdgeFunction:
    target = Target(EDGE_FUNCTION, name=name)
    while True:
        function = from_document(EdgeFunction, await transport.get(target))
        latest = condition_of(function.status.conditions, "Latest")
        ready = condition_of(function.status.conditions, "Ready")
        generation = function.metadata.generation
        if latest and latest.observed_generation == generation:
            failed = latest.status == "False" and latest.reason == "Failed"
            served = ready is not None and ready.status == "True" and ready.observed_generation == generation
            if failed or (latest.status == "True" and served):
                return function
        await asyncio.sleep(POLL_SECONDS)
