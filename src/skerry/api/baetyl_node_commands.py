"""cloud.baetyl.io/v1alpha1: commands to nodes that are on their way from one replica to another. Ours.

A node has its link to one replica, and people ask any. Who was asked makes a NodeCommand, the replica that has the link
takes it, and both write it in turns: a part of the answer, that it was read, the next part. Owns the fields. Does not
own what a command does (`server.baetyl.relay`).
"""

from typing import Annotated, Any

from pydantic import Field

from skerry.api.baetyl_v1alpha1 import GROUP, VERSION
from skerry.api.kinds import Kind
from skerry.api.model import SECRET_FIELD, FreeForm, Int64, Model, Resource, Time


class NodeCommandSpec(Model):
    """What is asked of a node."""

    node: str
    """The node, of this namespace."""
    command: str
    """The command: logs, describe or metrics."""
    meta: dict[str, str] | None = None
    """What is asked about."""
    content: FreeForm | None = None
    """How."""
    follows: bool = False
    """Whether it goes on, maybe without anything to say."""


class NodeCommandStatus(Model):
    """How far it is."""

    holder: str = ""
    """The replica that has the node's link; empty until one has taken the command."""
    part: Annotated[Int64, Field(ge=0)] = 0
    """The number of the part that is written."""
    read: Annotated[Int64, Field(ge=0)] = 0
    """The number of the part that was read."""
    data: Annotated[str | None, SECRET_FIELD] = None
    """The part, in base64."""
    end: str | None = None
    """Why there are no more parts; empty where all went well."""
    time: Time | None = None
    """When either side last wrote."""


class NodeCommand(Resource):
    """A command to a node, on its way between two replicas."""

    spec: NodeCommandSpec
    """What is asked."""
    status: NodeCommandStatus = Field(default_factory=NodeCommandStatus)
    """How far it is."""


NODE_COMMAND: Kind[Any] = Kind(
    group=GROUP,
    version=VERSION,
    model=NodeCommand,
    plural="nodecommands",
    namespaced=True,
)
