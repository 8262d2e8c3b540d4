"""Calls functions on Skerry's own authority, for requests that come through the gateway.

Owns what run a call is. Does not own who may call (the endpoint says it), nor how a run goes on (`dispatch_runs`).
"""

from typing import Any, Protocol

from skerry.api.decoding import complete
from skerry.api.dispatch_calls import run_of
from skerry.api.dispatch_v1 import RUN, Function, Run, RunSpec
from skerry.api.errors import NotFound
from skerry.api.model import Document, ObjectMeta
from skerry.client.client import Client
from skerry.kit.ids import Ids


class Runs(Protocol):
    """Executes runs."""

    async def run_now(self, function: Function, run: Run) -> Run:
        """Execute a run whose caller waits; raises TooManyRequests."""
        ...

    def require_room(self, namespace: str, function: str) -> None:
        """Raise TooManyRequests where too many runs of a function wait already."""
        ...


class FunctionCalls:
    """Calls functions.

    Args:
        client: reads functions, and stores runs that nobody waits for.
        runs: executes the others.
        ids: names runs.
    """

    def __init__(self, client: Client, runs: Runs, ids: Ids) -> None:
        self._client = client
        self._runs = runs
        self._ids = ids

    async def call(self, function: tuple[str, str], payload: Any, http_context: Document, *, blocking: bool) -> Run:
        """Run a function.

        Args:
            function: its namespace and name.
            payload: the input.
            http_context: of the request.
            blocking: whether to wait for the end; otherwise the run is on disk when this returns.

        Raises:
            NotFound: there is no such function, or it is not READY.
            TooManyRequests: too many of its runs wait already.
            Invalid: the input or the context is too large.
        """
        namespace, name = function
        found = await self._client.get(Function, name, namespace=namespace)
        if found.status.faas_id is None or found.metadata.deletion_timestamp:
            raise NotFound(f"function {name} is not READY")
        spec = RunSpec(function_name=name, blocking=blocking, input=payload, http_context=http_context)
        run = run_of(found, spec, ObjectMeta(name=self._ids.uid(), namespace=namespace))
        if blocking:
            complete(RUN, run, None)
            return await self._runs.run_now(found, run)
        self._runs.require_room(namespace, name)
        return await self._client.create(run)
