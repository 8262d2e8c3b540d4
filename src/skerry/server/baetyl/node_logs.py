"""What applications print on their nodes, and how they are there: asked of the node itself, over its link.

Ours: Baetyl's cloud has no routes for the commands that its agents take. The instance is one that the node reported.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from typing import Protocol

from skerry.api.baetyl_v1alpha1 import NODE, Node, NodeReport
from skerry.api.errors import ApiError, BadRequest, NotFound
from skerry.api.model import Document
from skerry.fleet import frames
from skerry.fleet.log_wishes import LogWish
from skerry.server.baetyl import errors
from skerry.server.baetyl.commands import Command
from skerry.server.baetyl.delivery import Place
from skerry.server.baetyl.door import Asked, Described, Operation
from skerry.server.http import TEXT, Answer, Streaming
from skerry.server.kube.logs import log_query

#: A stream ends after this time; who still wants it asks again.
STREAM_SECONDS_MAX = 3600.0
#: How long an answer may take that does not follow.
ANSWER_SECONDS_MAX = 60.0
_APP = "/v1/nodes/{name}/apps/{app}"
_FUNCTION = "/v1/nodes/{name}/edgefunctions/{function}"
#: Where a cluster's agent has applications of users, and those of Baetyl itself.
_NAMESPACES = (("appstats", "baetyl-edge"), ("sysappstats", "baetyl-edge-system"))
#: Kubernetes' word for what is described.
_POD = "po"


class Asking(Protocol):
    """Who asks nodes."""

    def run(self, place: Place, command: Command) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Have a node do something for the length of the block; yields what it prints; raises ApiError."""
        ...


class NodeLogs:
    """The handlers.

    Args:
        asking: asks nodes.
    """

    def __init__(self, asking: Asking) -> None:
        self._asking = asking

    def operations(self) -> list[Operation]:
        """Return what may be asked."""
        lines = ("instance", "container", "follow", "previous", "tailLines", "sinceSeconds", "limitBytes", "timestamps")
        logs = Described("Text", query=lines, form="text/plain")
        of_function = Described("Text", query=("follow", "tailLines", "sinceSeconds", "limitBytes"), form="text/plain")
        described = Described("Text", query=("instance",), form="text/plain")
        return [
            Operation("GET", f"{_APP}/logs", "get", NODE, self.logs, logs),
            Operation("GET", f"{_FUNCTION}/logs", "get", NODE, self.function_logs, of_function),
            Operation("GET", f"{_APP}/describe", "get", NODE, self.describe, described),
        ]

    async def logs(self, asked: Asked) -> Answer:
        """Read or follow what an instance of an application prints on a node."""
        return self._lines(asked, {**await self._instance(asked), "container": asked.query("container")})

    async def function_logs(self, asked: Asked) -> Answer:
        """Read or follow what a function prints that a Gateway of a node serves."""
        await asked.objects.get_shared(Node, asked.name)
        return self._lines(asked, {frames.RESOURCE_TYPE: frames.EDGE_FUNCTION, "name": asked.names["function"]})

    def _lines(self, asked: Asked, meta: Mapping[str, str]) -> Answer:
        wish = _wish(asked)
        command = Command("logs", meta, wish.document(), follows=wish.follow)
        seconds = STREAM_SECONDS_MAX if wish.follow else ANSWER_SECONDS_MAX
        return Streaming(self._parts(asked, command), seconds, TEXT)

    async def describe(self, asked: Asked) -> Answer:
        """Tell how an application is on a node, by the node's own words."""
        command = Command("describe", {**await self._instance(asked), frames.RESOURCE_TYPE: _POD})
        return Streaming(self._parts(asked, command), ANSWER_SECONDS_MAX, TEXT)

    @asynccontextmanager
    async def _parts(self, asked: Asked, command: Command) -> AsyncIterator[AsyncIterator[bytes]]:
        place = (asked.namespace, asked.name)
        async with self._asking.run(place, command) as parts, aclosing(_with_its_end(parts)) as told:
            yield told

    async def _instance(self, asked: Asked) -> dict[str, str]:
        """Return which instance is asked about, as commands name it; of an application without one, itself."""
        await asked.objects.get_shared(Node, asked.name)
        application, wanted = asked.names["app"], asked.query("instance")
        for namespace, instances in await self._reported(asked, application):
            if wanted and wanted not in instances:
                raise errors.not_found("instance", wanted)
            return {"namespace": namespace, "name": wanted or min(instances, default=application)}
        raise errors.BaetylError(
            errors.NOT_FOUND, f"The node ({asked.name}) has not reported the application ({application}).", 404
        )

    async def _reported(self, asked: Asked, application: str) -> list[tuple[str, Document]]:
        try:
            report = (await asked.objects.get_shared(NodeReport, asked.name)).report
        except NotFound:
            return []
        found = []
        for member, namespace in _NAMESPACES:
            for each in report.get(member) or ():
                if isinstance(each, dict) and each.get("name") == application:
                    instances = each.get("instances")
                    found.append((namespace, instances if isinstance(instances, dict) else {}))
        return found


async def _with_its_end(parts: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """Yield what a node prints; of a stream that breaks, a line that says why: its head is sent already."""
    try:
        async for part in parts:
            yield part
    except ApiError as error:
        yield f"\n[it ends here: {error.public}]\n".encode()


def _wish(asked: Asked) -> LogWish:
    """Read which lines are wanted; raises BaetylError."""
    try:
        query = log_query(asked.request.query)
    except BadRequest as error:
        raise errors.invalid(error.public) from error
    previous = asked.query("previous")
    if previous not in {"", "true", "false"}:
        raise errors.invalid(f"previous: {previous!r} must be true or false")
    return LogWish(
        query.follow,
        previous == "true",
        query.timestamps,
        query.tail_lines,
        query.since_seconds,
        **({"limit_bytes": query.limit_bytes} if query.limit_bytes else {}),
    )
