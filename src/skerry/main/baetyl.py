"""The wiring of fleets: the front door of their API."""

from collections.abc import Iterable

from skerry.kit.clock import SystemClock
from skerry.server.access import Access
from skerry.server.baetyl.applications import Applications
from skerry.server.baetyl.certificates import Certificates
from skerry.server.baetyl.configurations import Configurations
from skerry.server.baetyl.door import BaetylDoor, Handlers
from skerry.server.baetyl.fleet import Fleet
from skerry.server.baetyl.nodes import Nodes
from skerry.server.baetyl.openapi import OPENAPI_PATH, openapi_document
from skerry.server.baetyl.rollouts import Rollouts
from skerry.server.baetyl.secrets import Registries, Secrets
from skerry.server.baetyl.usage import Usage
from skerry.server.http import Response
from skerry.server.operations import json
from skerry.server.verbs.verbs import Verbs


def baetyl_door(verbs: Verbs, access: Access, fleet: Fleet, more: Iterable[Handlers] = ()) -> BaetylDoor:
    """Return the front door of fleets, with more handlers than those of its objects."""
    usage, clock = Usage(fleet), SystemClock()
    handlers: tuple[Handlers, ...] = (
        Nodes(fleet, clock),
        Applications(usage, clock),
        Configurations(usage),
        Secrets(usage),
        Registries(usage),
        Certificates(usage),
        Rollouts(fleet),
        *more,
    )
    operations = [operation for each in handlers for operation in each.operations()]

    def openapi() -> Response:
        return json(openapi_document(operations))

    return BaetylDoor(verbs, access, operations, {OPENAPI_PATH: openapi})
