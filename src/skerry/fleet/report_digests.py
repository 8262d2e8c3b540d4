"""What of reports is looked at all the time: when each came, and how applications do. Pure.

A report is some kilobytes, and every control plane that looks after nodes holds the newest of each: so it holds this.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass

from skerry.api.model import Document


@dataclass(frozen=True, slots=True)
class ReportDigest:
    """A report, by what decides about its node.

    Attributes:
        namespace: of the node.
        name: likewise.
        node_uid: whose report it is; "" for none.
        time: when it came.
        conflict_time: when two agents were last seen to report as this node; None for never.
        states: version and state of each application, by name.
    """

    namespace: str
    name: str
    node_uid: str
    time: str
    conflict_time: str | None
    states: Mapping[str, tuple[str, str]]

    def state_of(self, application: str, version: int) -> str:
        """Return the state of an application in a version, such as "Running"; "" for none."""
        reported, state = self.states.get(application, ("", ""))
        return state if reported == str(version) else ""


def report_digest(document: Document) -> ReportDigest:
    """Read the document of a NodeReport."""
    meta = document["metadata"]
    owners = meta.get("ownerReferences") or ()
    return ReportDigest(
        sys.intern(meta["namespace"]),
        meta["name"],
        owners[0]["uid"] if owners else "",
        document["time"],
        document.get("conflictTime"),
        _states(document.get("report") or {}),
    )


def _states(report: Document) -> dict[str, tuple[str, str]]:
    """Read the states of applications; what is of another form tells nothing. Words of a fleet are held once."""
    found = report.get("appstats")
    told = [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
    return {_word(each.get("name")): (_word(each.get("version")), _word(each.get("status"))) for each in told}


def _word(value: object) -> str:
    return sys.intern(value) if isinstance(value, str) else ""
