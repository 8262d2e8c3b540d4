"""Runs as the front door begins them: one for all who ask with the same key at the same time."""

import asyncio
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from skerry.api import dispatch_v1 as api
from skerry.api.dispatch_v1 import Function, FunctionSource, FunctionSpec, FunctionStatus, Run
from skerry.api.errors import NotFound
from skerry.api.model import ObjectMeta
from skerry.kit.ids import RandomIds
from skerry.server.auth import ANONYMOUS
from skerry.server.dispatch.door import Asked
from skerry.server.dispatch.runs import FunctionRuns
from skerry.server.http import Request, Response

if TYPE_CHECKING:
    from skerry.server.objects import Objects

FUNCTION = Function(
    metadata=ObjectMeta(name="f", namespace="default", uid="1"),
    spec=FunctionSpec(image="python3", source=FunctionSource(text="...")),
    status=FunctionStatus(state=api.READY, faas_id="1"),
)


class OneFunction:
    """An organization with a function, and no run that is over."""

    async def get_shared(self, model: type[Any], name: str) -> Any:  # noqa: ARG002 - `Objects`
        return FUNCTION

    async def get(self, model: type[Any], name: str) -> Any:  # noqa: ARG002 - as above
        raise NotFound(name)

    def require_secrets(self, names: object) -> None:
        """Let everybody read everything."""

    def require_services(self, names: object) -> None:
        """Let everybody use everything."""


@dataclass
class HeldRuns:
    """Executes runs once they are let through.

    Attributes:
        begun: their names.
    """

    let: asyncio.Event = field(default_factory=asyncio.Event)
    begun: list[str] = field(default_factory=list)

    async def run_now(self, function: Function, run: Run) -> Run:  # noqa: ARG002 - `Runs`
        self.begun.append(run.name)
        await self.let.wait()
        run.status.state = api.READY
        return run

    async def submit(self, run: Run) -> Run:
        return run


def asking(runs: FunctionRuns, key: str) -> asyncio.Task[Response]:
    body = b'{"blocking": true}'

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    headers = [(b"idempotency-key", key.encode()), (b"content-length", b"%d" % len(body))]
    scope = {"method": "POST", "path": "/v1/runs", "query_string": b"functionName=f", "headers": headers}
    asked = Asked(Request(scope, receive, ANONYMOUS), cast("Objects", OneFunction()), {})
    return asyncio.ensure_future(runs.create(asked))


async def test_who_asks_again_with_a_key_while_its_run_goes_on_waits_for_the_same() -> None:
    held = HeldRuns()
    runs = FunctionRuns(held, RandomIds())
    first, again, other = asking(runs, "k"), asking(runs, "k"), asking(runs, "another")
    async with asyncio.timeout(60):
        while len(held.begun) < 2:  # noqa: ASYNC110 - state of a fake
            await asyncio.sleep(0)
        first.cancel()  # one who asked again still waits
        await asyncio.wait([first])
        held.let.set()
        answers = [await again, await other]
    assert [answer.status for answer in answers] == [200, 200]
    assert sorted(json.loads(answer.body)["name"] for answer in answers) == sorted(held.begun)
    assert len(set(held.begun)) == 2
