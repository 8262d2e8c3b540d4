"""Which process does what only one may do: this one where it is alone, else the replica that holds the lease."""

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from skerry.client.client import Client
from skerry.controllers.election import Election
from skerry.kit.clock import Clock
from skerry.kit.ids import Ids
from skerry.kit.tasks import background

LEASE = "skerry-controllers"


@asynccontextmanager
async def one_of_all(
    duties: Callable[[], AbstractAsyncContextManager[None]], client: Client, clock: Clock, ids: Ids, *, alone: bool
) -> AsyncIterator[None]:
    """Have `duties` run in one of the processes that share a database, for the length of the block.

    Args:
        duties: entered where and when this process is the one.
        client: for the lease.
        clock: for the lease.
        ids: names this process, unlike an earlier one on the same host.
        alone: whether no other process can share the database: then it is this one, from the start to the end.
    """
    if alone:
        async with duties():
            yield
        return
    election = Election(client, LEASE, f"{socket.gethostname()}_{ids.uid()}", clock)
    async with background(("election", lambda: election.run(duties))):
        yield
