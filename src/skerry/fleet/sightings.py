"""Two agents that are one node: told from whom a node's reports come. Pure.

An agent is told apart by its credential, by the machines that it reports, and by the session that our own agents make
up when they start, since machines of one image may say the same of themselves. A device that starts again, is installed
again, or gets another certificate, is another agent from then on, and the one before is not heard of again. Where it
is, after the other was, both live: someone copied a disk, or a credential.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from skerry.api.baetyl_v1alpha1 import Reporter
from skerry.api.model import Document
from skerry.fleet.node_stats import by_machine

#: Agents of one node that are remembered.
REPORTERS_MAX = 4
#: Of a report's `core`: what an agent makes up when it starts.
SESSION = "session"
_MACHINE_MEMBERS = ("machineID", "bootID", "systemUUID", "hostname")
_IDENTITY_CHARACTERS = 16


def identity_of(credential: str, report: Document) -> str:
    """Return what tells the agent of a report from others: 16 hexadecimal digits."""
    nodes: Any = report.get("node")
    told: Mapping[str, Document] = by_machine(nodes) if isinstance(nodes, dict) else {}
    core = report.get("core")
    session = str(core.get(SESSION, "")) if isinstance(core, dict) else ""
    machines = sorted([str(each.get(name, "")) for name in _MACHINE_MEMBERS] for each in told.values())
    return hashlib.sha256(f"{credential}\n{session}\n{machines}".encode()).hexdigest()[:_IDENTITY_CHARACTERS]


def seen(before: Sequence[Reporter], identity: str, now: str) -> tuple[list[Reporter], bool]:
    """Return who reports for a node, after a report, and whether two agents do.

    Args:
        before: who did; the newest first.
        identity: whose report came.
        now: when.
    """
    others = [each for each in before if each.identity != identity]
    back = bool(before) and before[0].identity != identity and len(others) < len(before)
    return [Reporter(identity=identity, time=now), *others][:REPORTERS_MAX], back
