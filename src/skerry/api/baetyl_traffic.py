"""cloud.baetyl.io/v1alpha1: TrafficReport, what the Gateways of a node have in force. Skerry's own addition.

A kind of its own, as NodeReport is: it changes when traffic does, not with every report.
"""

from pydantic import Field

from skerry.api.baetyl_v1alpha1 import GROUP, VERSION
from skerry.api.kinds import Column, Kind, value_at
from skerry.api.model import Document, FreeForm, Resource, Time


class TrafficReport(Resource):
    """What the Gateways of a node have in force, under the node's own name."""

    time: Time
    """When it came."""
    statuses: FreeForm = Field(default_factory=dict)
    """The statuses of the objects of the node's slice as they are there, by `resource/namespace/name`."""


def _objects(document: Document) -> int:
    return len(document.get("statuses") or {})


TRAFFIC_REPORT = Kind(
    group=GROUP,
    version=VERSION,
    model=TrafficReport,
    plural="trafficreports",
    namespaced=True,
    columns=(
        Column("Reported", value_at(".time"), type="date", description="When it came."),
        Column("Objects", _objects, type="integer", description="The objects that it tells of."),
    ),
    read_by="view",
)
