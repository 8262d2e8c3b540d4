"""Calls functions on Skerry's own authority, for requests that come through the gateway.

Owns what run a call is. Does not own who may call (the endpoint says it), nor how a run goes on (`dispatch_runs`).
"""

from typing import Protocol

from skerry.api.dispatch_calls import run_of
from skerry.api.dispatch_v1 import Function, Run, RunSpec
from skerry.api.errors import NotFound
from skerry.api.model import ObjectMeta
from skerry.client.client import Client
from skerry.kit.ids import Ids


class Runs(Protocol):
    """Executes runs."""

    async def run_now(self, function: Function, run: Run) -> Run:
        """Execute a run whose caller waits; raises TooManyRequests."""
        ...

    async def submit(self, run: Run) -> Run:
        """Store a run, complete and valid, to be executed in its turn; raises TooManyRequests, and AlreadyExists."""
        ...


class FunctionCalls:
    """Calls functions.

    Args:
        client: reads functions.
        runs: executes and stores runs.
        ids: names runs.
    """

    def __init__(self, client: Client, runs: Runs, ids: Ids) -> None:
        self._client = client
        self._runs = runs
        self._ids = ids

    async def call(self, spec: RunSpec, namespace: str) -> Run:
        """Run a function.

        Args:
            spec: of the run; where it is not `blocking`, the run is on disk when this returns, else at its end.
            namespace: of the function.

        Raises:
            NotFound: there is no such function, or it is not READY.
            TooManyRequests: too many of its runs wait already.
            Invalid: the input or the context is too large.
        """
        name = spec.function_name
        found = await self._client.get(Function, name, namespace=namespace)
        if found.status.faas_id is None or found.metadata.deletion_timestamp:
            raise NotFound(f"function {name} is not READY")
        run = run_of(found, spec, ObjectMeta(name=self._ids.uid(), namespace=namespace))
        if spec.blocking:
            return await self._runs.run_now(found, run)
        return await self._runs.submit(run)
