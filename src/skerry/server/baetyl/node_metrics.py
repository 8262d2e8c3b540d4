"""What functions count on a node, as Prometheus reads it: asked of the node itself, over its link.

Ours. So the control plane is the one address at which a whole fleet is scraped: nodes need not be reachable. What came
is answered whole or not at all, because a part of a number is a number. Source of the form of the targets: Prometheus,
"Writing HTTP service discovery".
"""

import re
from functools import partial

from prometheus_client import CONTENT_TYPE_LATEST

from skerry.api.baetyl_v1alpha1 import NODE, Node
from skerry.api.model import Document
from skerry.fleet import frames
from skerry.kit.deadlines import within
from skerry.server.baetyl.commands import FAILED, Command
from skerry.server.baetyl.door import Asked, Described, Operation, host_of
from skerry.server.baetyl.errors import BaetylError
from skerry.server.baetyl.listing import Listing, listed
from skerry.server.baetyl.node_logs import Asking
from skerry.server.http import Response
from skerry.server.operations import json

#: Of one node: about 1,000 functions.
METRICS_BYTES_MAX = 4 * 1024 * 1024
#: How long they may take to come.
METRICS_SECONDS_MAX = 30.0
#: Where Prometheus has what is there for its relabelling alone, and what it takes in the name of a label.
_NODE_LABEL = "__meta_skerry_node_label_"
_NO_LABEL_CHARACTER = re.compile(r"[^a-zA-Z0-9_]")


class NodeMetrics:
    """The handlers.

    Args:
        asking: asks nodes.
    """

    def __init__(self, asking: Asking) -> None:
        self._asking = asking

    def operations(self) -> list[Operation]:
        """Return what may be asked."""
        described = Described("Text", form="text/plain")
        targets = Described("ScrapeTargets", query=("selector", "fieldSelector"))
        return [
            Operation("GET", "/v1/nodes/{name}/metrics", "get", NODE, self.metrics, described),
            Operation("GET", "/v1/fleet/scrape-targets", "list", NODE, self.targets, targets),
        ]

    async def metrics(self, asked: Asked) -> Response:
        """Read what the functions count that Gateways of a node serve, for Prometheus."""
        await asked.objects.get_shared(Node, asked.name)
        told = bytearray()
        try:
            with within(METRICS_SECONDS_MAX):
                async with self._asking.run((asked.namespace, asked.name), Command(frames.METRICS, {})) as parts:
                    async for part in parts:
                        told += part
                        if len(told) > METRICS_BYTES_MAX:
                            raise BaetylError(FAILED, f"The node's metrics are over {METRICS_BYTES_MAX} bytes.")
        except TimeoutError as error:
            raise BaetylError(FAILED, f"The node's metrics took over {METRICS_SECONDS_MAX:.0f} s.", 504) from error
        return Response(bytes(told), content_type=CONTENT_TYPE_LATEST)

    async def targets(self, asked: Asked) -> Response:
        """List where the metrics of nodes are read, for Prometheus' service discovery over HTTP."""
        view = partial(_target, host_of(asked.request))
        return json((await listed(asked, Listing(Node, view, hides_system=False)))["items"])


def _target(host: str, node: Node) -> Document:
    """Return how a node is scraped, at the server itself."""
    given = node.metadata.labels or {}
    labels = {_NODE_LABEL + _NO_LABEL_CHARACTER.sub("_", name): text for name, text in given.items()}
    own = {"namespace": node.namespace, "node": node.name, "__metrics_path__": f"/v1/nodes/{node.name}/metrics"}
    return {"targets": [host], "labels": {**labels, **own}}
