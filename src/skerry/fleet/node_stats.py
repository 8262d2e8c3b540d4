"""What a report says of a node, as people see it: usage in plain units, shares, states of applications. Pure.

Reports of both generations are read: `node` and `nodestats` of one machine (2.0), or of each by its host name (later
ones, for clusters). A node of one machine is shown in the document's form, whose shares are numbers; one of several
machines by host name. A quantity that can't be read is shown as it was reported, and has no share: upstream answers
such a report with 500 for ever.
"""

import math
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from skerry.api.model import Document
from skerry.api.quantities import parse_amount

#: Members of `extension` that later agents measure, and where they are shown: member of the stats, and its key.
_EXTENSION = {
    "usedMemory": ("usage", "gpu"),
    "totalMemory": ("capacity", "gpu"),
    "percent": ("percent", "gpu"),
    "diskUsed": ("usage", "disk"),
    "diskTotal": ("capacity", "disk"),
    "diskPercent": ("percent", "disk"),
    "netBytesSent": ("netio", "netBytesSent"),
    "netBytesRecv": ("netio", "netBytesRecv"),
    "netPacketsSent": ("netio", "netPacketsSent"),
    "netPacketsRecv": ("netio", "netPacketsRecv"),
}
_STATS_OF = ("appstats", "sysappstats")


def report_view(report: Document, *, ready: bool) -> Document:
    """Return a report as it is shown; of a node that is not ready, nothing is known of its applications' states."""
    view = dict(report)
    for member in ("node", "nodestats"):
        if isinstance(view.get(member), dict):
            machines = by_machine(view[member])
            shown = {host: _stats(each) for host, each in machines.items()} if member == "nodestats" else machines
            view[member] = next(iter(shown.values())) if len(shown) == 1 else shown
    for member in _STATS_OF:
        if isinstance(view.get(member), list):
            view[member] = [_application(each, ready=ready) for each in view[member] if isinstance(each, dict)]
    return view


def by_machine(reported: Mapping[str, Any]) -> dict[str, Document]:
    """Return what is reported of each machine, by its host name; that of the one machine of an old agent by ""."""
    if reported and all(isinstance(each, dict) for each in reported.values()) and not _is_flat(reported):
        return {host: dict(each) for host, each in reported.items()}
    return {"": dict(reported)}


def _is_flat(reported: Mapping[str, Any]) -> bool:
    return "usage" in reported or "capacity" in reported or "hostname" in reported


def _stats(reported: Document) -> Document:
    """Show the use of one machine."""
    stats: Document = {**reported, **{name: _texts(reported.get(name)) for name in ("usage", "capacity")}}
    shares: dict[str, Any] = {name: _share(text) for name, text in _texts(reported.get("percent")).items()}
    extension = _texts(reported.get("extension"))
    for name in extension.keys() & _EXTENSION.keys():
        member, key = _EXTENSION[name]
        if member == "percent":
            shares[key] = _share(extension[name])
        else:
            stats[member] = {**_texts(stats.get(member)), key: extension[name]}
    for name, plain in _PLAIN.items():
        usage, capacity = plain(stats["usage"].get(name)), plain(stats["capacity"].get(name))
        for member, amount in (("usage", usage), ("capacity", capacity)):
            if amount is not None:
                stats[member][name] = _decimal_text(amount)
        shares[name] = min(1.0, float(usage / capacity)) if usage is not None and capacity else 0.0
    return {**stats, "percent": shares}


def _application(reported: Document, *, ready: bool) -> Document:
    """Show the state of an application."""
    shown = dict(reported) if ready else {**reported, "status": ""}
    instances = reported.get("instances")
    if isinstance(instances, dict):
        shown["instances"] = {name: _instance(each) for name, each in instances.items() if isinstance(each, dict)}
    return shown


def _instance(reported: Document) -> Document:
    usage = _texts(reported.get("usage"))
    for name, plain in _PLAIN.items():
        if (amount := plain(usage.get(name))) is not None:
            usage[name] = _decimal_text(amount)
    return {**reported, "usage": usage}


def _texts(reported: Any) -> dict[str, str]:
    return {name: str(value) for name, value in reported.items()} if isinstance(reported, dict) else {}


def _share(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _cores(text: str | None) -> Decimal | None:
    """Return a number of cores, rounded up to thousandths."""
    amount = _amount(text)
    return None if amount is None else Decimal(math.ceil(amount * 1000)) / 1000


def _bytes(text: str | None) -> Decimal | None:
    """Return a number of bytes, rounded up."""
    amount = _amount(text)
    return None if amount is None else Decimal(math.ceil(amount))


def _amount(text: str | None) -> Decimal | None:
    if not text:
        return None
    try:
        return parse_amount(text)
    except ValueError:
        return None


def _decimal_text(amount: Decimal) -> str:
    """Write an amount without an exponent and without zeros at its end."""
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


_PLAIN: Mapping[str, Callable[[str | None], Decimal | None]] = {"cpu": _cores, "memory": _bytes}
