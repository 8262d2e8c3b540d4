"""Reports: what a node says of itself, what of it is kept, and what it is answered. Pure.

Owns the bounds of a report, how parts of one node's agents come together, and the delta. Does not own the desire
(the binding index computes it) nor where reports are kept.

Invariant: what is kept is what the newest report says, and `time` is when it arrived by our clock, never the node's.
"""

import datetime as dt
import re
from collections.abc import Iterable, Mapping, Sequence

import orjson

from skerry.api.errors import ApiError
from skerry.api.model import Document
from skerry.api.shapes import check_shape
from skerry.kit.errors import SkerryError

#: A report of a node with 200 applications has a tenth of it.
REPORT_BYTES_MAX = 1024 * 1024
#: Levels of arrays and objects in a report; those of a Kubernetes agent have twelve.
DEPTH_MAX = 32
#: What of a report is held against the desire.
APPS, SYSTEM_APPS, PROPERTIES = "apps", "sysapps", "nodeprops"
#: Likewise, of agents that know Gateways: names of those that they run. Skerry's own addition.
GATEWAYS = "gateways"

#: The agents of one node that report apart from each other, by the header `source`.
SOURCE_INIT, SOURCE_CORE = "baetyl-init", "baetyl-core"
_SYSTEM_MEMBERS = (SYSTEM_APPS, "sysappstats")


class ReportRefused(SkerryError):
    """A report, or a question for resources, that can't be read."""


def read_object(body: bytes) -> Document:
    """Read a JSON object; raises ReportRefused where it is none, too deep, or too much of one."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ReportRefused(f"the body is no JSON: {error}") from error
    if not isinstance(document, dict):
        raise ReportRefused("the body must be a JSON object")
    try:
        check_shape(document, DEPTH_MAX)
    except ApiError as error:
        raise ReportRefused(error.public) from error
    return document


def merged_report(before: Document, new: Document, *, source: str, now: dt.datetime) -> Document:
    """Return what is kept of a node's report.

    Args:
        before: what was kept of the one before; empty for none.
        new: the report. It takes the other's place as a whole, but for what another agent of the node reports.
        source: which agent it is from: `SOURCE_INIT` tells of system applications alone; `SOURCE_CORE` does not know
            of itself. "" for an agent that tells of everything.
        now: when it arrived.
    """
    if source == SOURCE_INIT:
        kept = {**before, **{name: new[name] for name in _SYSTEM_MEMBERS if name in new}}
    elif source == SOURCE_CORE:
        kept = dict(new)
        for name, of_core in told_of_core(before).items():
            told = {str(item.get("name")) for item in _items(new, name)}
            if missing := [item for item in of_core if str(item.get("name")) not in told]:
                kept[name] = [*_items(new, name), *missing]
    else:
        kept = dict(new)
    return {**kept, "time": report_time(now)}


def told_of_core(report: Document) -> dict[str, list[Document]]:
    """Return what a report tells of the agent itself: all that the next one needs of it, but for `SOURCE_INIT`."""
    return {name: [item for item in _items(report, name) if _is_core(item)] for name in _SYSTEM_MEMBERS}


def report_time(now: dt.datetime) -> str:
    """Write the time of a report, to the microsecond."""
    return now.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")


def _items(report: Document, name: str) -> list[Document]:
    found = report.get(name)
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def _is_core(item: Document) -> bool:
    return str(item.get("name", "")).startswith(SOURCE_CORE)


#: Name and version of an application.
Wanted = tuple[str, str]


def delta(
    report: Document,
    apps: Sequence[Wanted],
    system_apps: Sequence[Wanted],
    properties: Mapping[str, str],
    gateways: Sequence[str] = (),
) -> Document:
    """Return what a node has to change: the answer to its report.

    An agent takes this in place of what it knew, member by member: so an array is whole or not there at all, and an
    empty one removes every application. The order in which a node reports its applications means nothing.

    Args:
        report: what it says.
        apps: what it is to run, in the order in which it is told.
        system_apps: likewise.
        properties: what its properties are to be; told each time, as upstream does, since agents merge them.
        gateways: names of those that it is to run, in order; told to agents alone that tell which they run.
    """
    changes: Document = {}
    for member, wanted in ((APPS, apps), (SYSTEM_APPS, system_apps)):
        if sorted(wanted) != sorted(_reported(_items(report, member))):
            changes[member] = [{"name": name, "version": version} for name, version in wanted]
    if GATEWAYS in report and report[GATEWAYS] != list(gateways):
        changes[GATEWAYS] = list(gateways)
    if properties:
        changes[PROPERTIES] = dict(properties)
    return changes


def reported_versions(report: Document, member: str) -> dict[str, str]:
    """Return the applications that a node has, by name with their versions."""
    return dict(_reported(_items(report, member)))


def _reported(items: Iterable[Document]) -> Iterable[Wanted]:
    return ((str(item.get("name", "")), str(item.get("version", ""))) for item in items)


#: Not the start of the one placeholder that agents fill in: where their files lie.
_BRACES = re.compile(rb"\{\{(?!\.BAETYL_HOST_PATH_LIB\}\})")


def escaped(answer: bytes) -> bytes:
    """Keep the templates of agents off the content of an answer.

    Agents run every answer as a Go template, so that "{{" in somebody's configuration would fail the whole. JSON can
    write it otherwise; outside of strings it never has two braces in a row.
    """
    return _BRACES.sub(rb"\\u007b\\u007b", answer)
