"""How a function's requests are shared among its revisions: `spec.traffic` and `status.traffic` of an EdgeFunction.

Skerry's own addition to Apoxy's API. Decides what may be asked for, and what the absence of it means. Does not own what
is in force (the function controller decides, the node tells).

Invariant: a function whose spec names no traffic sends all of it to the latest revision that is ready.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated

from pydantic import Field

from skerry.api.fields import FieldError, duplicate, forbidden, invalid, required, too_many
from skerry.api.model import LIST_ATOMIC, Model
from skerry.api.names import LABEL_CHARACTERS_MAX, is_label

#: Of one function: more would make one route of the gateway hold more weights than anyone can follow.
TRAFFIC_ENTRIES_MAX = 20
WHOLE_PERCENT = 100
#: Between a tag and the function's name in a tag's host name; so no tag may hold it.
TAG_SEPARATOR = "--"
#: With the separator it would begin an internationalised name (RFC 5890), which is another one.
_TAG_RESERVED = "xn"

Percent = Annotated[int, Field(ge=0, le=WHOLE_PERCENT)]


class TrafficEntry(Model):
    """A share of a function's requests, an address for one revision, or both; Skerry's own addition."""

    revision: str | None = None
    """Name of a revision of the function; exactly one of revision and latest."""
    latest: bool | None = None
    """True for the newest revision that is ready, whichever that is; exactly one of revision and latest."""
    percent: Percent | None = None
    """Share of the requests; those of all entries add up to 100. Without it, the entry is a tag alone."""
    tag: str | None = None
    """Gives the revision an address of its own, http://<tag>--<function>.functions.localhost:8080/."""


class TrafficTarget(Model):
    """A share or a tag as it was decided: which revision gets it; Skerry's own addition."""

    revision: str
    """Name of the revision."""
    latest: bool | None = None
    """Whether the spec asked for the latest revision."""
    percent: Percent | None = None
    """Share of the requests."""
    tag: str | None = None
    """The tag of the revision."""
    url: str | None = None
    """The address of the tag."""
    ready: bool | None = None
    """Whether the gateway has it in force."""

    @property
    def identity(self) -> tuple[str, int | None, str | None]:
        """What it decides, without what the node tells of it."""
        return (self.revision, self.percent, self.tag)


SpecTraffic = Annotated[list[TrafficEntry] | None, LIST_ATOMIC]
StatusTraffic = Annotated[list[TrafficTarget] | None, LIST_ATOMIC]


def wanted_traffic(entries: Sequence[TrafficEntry] | None) -> list[TrafficEntry]:
    """Return what a spec asks for, with what it leaves unsaid: without any share, the latest gets all."""
    given = list(entries or ())
    if any(entry.percent is not None for entry in given):
        return given
    return [TrafficEntry(latest=True, percent=WHOLE_PERCENT), *given]


def live_of(targets: Iterable[TrafficTarget]) -> str | None:
    """Return the revision that most requests go to, the first of equals; None where there is none."""
    shares: dict[str, int] = {}
    for target in targets:
        if target.percent:
            shares[target.revision] = shares.get(target.revision, 0) + target.percent
    return max(shares, key=lambda name: shares[name]) if shares else None


def scaled(percents: Sequence[int], total: int) -> list[int]:
    """Scale shares so that they add up to `total`, in proportion; the first takes what rounding leaves.

    Args:
        percents: at least one, whose sum is above 0.
        total: what they shall add up to.
    """
    found = [percent * total // sum(percents) for percent in percents]
    found[0] += total - sum(found)
    return found


def with_share(entries: Sequence[TrafficEntry] | None, revision: str | None, percent: int) -> list[TrafficEntry]:
    """Give a revision a share, and scale those of the others to what is left; tags stay.

    Args:
        entries: `spec.traffic` before.
        revision: name of the revision; None for the latest, whichever that is.
        percent: the share.

    Raises:
        ValueError: nobody is there to take the rest.
    """
    wanted = wanted_traffic(entries)
    mine = next((entry for entry in wanted if entry.revision == revision), None)
    others = [entry for entry in wanted if entry.percent and entry.revision != revision]
    if percent < WHOLE_PERCENT and not others:
        raise ValueError(f"no other revision gets requests that could take the remaining {WHOLE_PERCENT - percent} %")
    rest = scaled([other.percent or 0 for other in others], WHOLE_PERCENT - percent) if others else []
    shares = {id(other): share for other, share in zip(others, rest, strict=True) if share}
    first = mine or TrafficEntry(revision=revision, latest=True if revision is None else None)
    found = [first.model_copy(update={"percent": percent})]
    found += [e.model_copy(update={"percent": shares.get(id(e))}) for e in wanted if e is not mine]
    return [entry for entry in found if entry.percent is not None or entry.tag]


def tag_label(tag: str, function: str) -> str:
    """Return the first label of a tag's host name."""
    return f"{tag}{TAG_SEPARATOR}{function}"


def validate_traffic(entries: Sequence[TrafficEntry], function: str, path: str, *, whole: bool) -> Iterator[FieldError]:
    """Check what a spec asks for; whether its revisions exist is told in the status, whatever comes first.

    Args:
        entries: `spec.traffic`.
        function: the function's name.
        path: of the field.
        whole: one revision must have it all, as in mode filter.
    """
    if len(entries) > TRAFFIC_ENTRIES_MAX:
        yield too_many(path, len(entries), TRAFFIC_ENTRIES_MAX)
    seen: set[str] = set()
    for index, entry in enumerate(entries):
        yield from _validate_entry(entry, function, f"{path}[{index}]")
        if whole and entry.percent not in {None, 0, WHOLE_PERCENT}:
            yield forbidden(f"{path}[{index}].percent", "in mode filter one revision sees every request: 100 or 0")
        if entry.tag is not None and entry.tag in seen:
            yield duplicate(f"{path}[{index}].tag", entry.tag)
        seen |= {entry.tag} if entry.tag else set()
    percents = [entry.percent for entry in entries if entry.percent is not None]
    if percents and sum(percents) != WHOLE_PERCENT:
        detail = f"the percent of all entries must add up to {WHOLE_PERCENT}, and they add up to {sum(percents)}"
        yield invalid(path, percents, detail)


def _validate_entry(entry: TrafficEntry, function: str, path: str) -> Iterator[FieldError]:
    if entry.latest is False:
        yield invalid(f"{path}.latest", False, "may only be true; leave it out where a revision is named")
    if entry.latest is None and not entry.revision:
        yield required(path, "one of revision and latest must be given")
    if entry.latest and entry.revision is not None:
        yield forbidden(path, "only one of revision and latest may be given")
    if entry.revision and not entry.revision.startswith(f"{function}-"):
        yield invalid(f"{path}.revision", entry.revision, f"must be a revision of {function}: {function}-<hash>")
    if entry.percent is None and entry.tag is None:
        yield required(path, "at least one of percent and tag must be given")
    if entry.tag is not None:
        yield from _validate_tag(entry.tag, function, f"{path}.tag")


def _validate_tag(tag: str, function: str, path: str) -> Iterator[FieldError]:
    if not is_label(tag) or TAG_SEPARATOR in tag or tag == _TAG_RESERVED:
        detail = f"must be a DNS label (lower-case letters, digits and '-' between them), without {TAG_SEPARATOR!r}"
        yield invalid(path, tag, f"{detail}, and not {_TAG_RESERVED!r}")
    label = tag_label(tag, function)
    if len(label) > LABEL_CHARACTERS_MAX:
        detail = f"its host name's label {label} may have {LABEL_CHARACTERS_MAX} characters, and has {len(label)}"
        yield invalid(path, tag, detail)
