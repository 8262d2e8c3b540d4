"""`skerry revisions`, `skerry rollback`, `skerry promote`: which revision of a function gets its requests.

Each changes `spec.traffic` and nothing else. Owns what a revision is called by (its name, or its hash alone) and which
one `rollback` means; does not own how shares are scaled (`api.function_traffic`).
"""

import asyncio
from collections.abc import Sequence
from typing import Annotated, NamedTuple, NoReturn

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from skerry.api.durations import humanize
from skerry.api.extensions_v1alpha2 import (
    EDGE_FUNCTION,
    EDGE_FUNCTION_REVISION,
    FUNCTION_LABEL,
    EdgeFunction,
    EdgeFunctionRevision,
)
from skerry.api.function_traffic import WHOLE_PERCENT, TrafficEntry, with_share
from skerry.api.model import condition_of, from_document, to_document
from skerry.cli import run_notes
from skerry.cli.connection import connected
from skerry.cli.printing import err, out
from skerry.cli.session import DataDirFlag, KubeconfigFlag, access_of, list_all, run
from skerry.client.http import HttpTransport
from skerry.client.transport import Target
from skerry.kit.clock import SystemClock, from_rfc3339
from skerry.kit.deadlines import within
from skerry.kit.errors import ConfigurationError, SkerryError

POLL_SECONDS = 0.05
#: Revisions that an error lists.
LISTED_MAX = 10

FunctionArgument = Annotated[str, typer.Argument(metavar="FUNCTION", help="Name of an EdgeFunction.")]
WaitFlag = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until the gateway has it in force.")]
TimeoutFlag = Annotated[str, typer.Option(help="How long to wait.")]


class _History(NamedTuple):
    """A function with its revisions, the newest first."""

    function: EdgeFunction
    revisions: list[EdgeFunctionRevision]

    @property
    def names(self) -> list[str]:
        return [revision.name for revision in self.revisions]


async def _history(transport: HttpTransport, name: str) -> _History:
    function = from_document(EdgeFunction, await transport.get(Target(EDGE_FUNCTION, name=name)))
    documents = await list_all(transport, Target(EDGE_FUNCTION_REVISION), f"{FUNCTION_LABEL}={name}")
    found = [from_document(EdgeFunctionRevision, document) for document in documents]
    owned = [r for r in found if any(owner.uid == function.uid for owner in r.metadata.owner_references or ())]
    owned.sort(key=lambda r: (r.metadata.creation_timestamp or "", r.name), reverse=True)
    return _History(function, owned)


def revisions(function: FunctionArgument, data_dir: DataDirFlag = None, kubeconfig: KubeconfigFlag = None) -> None:
    """List a function's revisions, the newest first: whether they are ready, and their shares of the requests."""

    async def fetch() -> _History:
        async with connected(access_of(kubeconfig, data_dir)) as http:
            return await _history(HttpTransport(http), function)

    out.print(_table(run(fetch())))


def _table(history: _History) -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for heading in ("REVISION", "READY", "TRAFFIC", "TAGS", "AGE"):
        table.add_column(heading, no_wrap=True)
    now = SystemClock().now()
    for revision in history.revisions:
        ready = condition_of(revision.status.conditions, "Ready")
        targets = [target for target in history.function.status.targets if target.revision == revision.name]
        share = sum(target.percent or 0 for target in targets)
        created = revision.metadata.creation_timestamp
        table.add_row(
            revision.name,
            ready.reason if ready else "",
            f"{share}%" if share else "",
            ",".join(target.tag for target in targets if target.tag),
            humanize((now - from_rfc3339(created)).total_seconds()) if created else "",
        )
    return table


def rollback(
    function: FunctionArgument,
    to: Annotated[
        str | None, typer.Option("--to", metavar="REVISION", help="Default: the revision that was live before.")
    ] = None,
    wait: WaitFlag = True,
    timeout: TimeoutFlag = "30s",
    data_dir: DataDirFlag = None,
    kubeconfig: KubeconfigFlag = None,
) -> None:
    """Send all of a function's requests to an older revision, and hold them there.

    Nothing is built: the older revision still has its code. Later changes of the function are built, but get no
    requests until `skerry promote FUNCTION` lets them. In the middle of a gradual roll-out, the default is the oldest
    revision that still gets requests.
    """
    seconds = run_notes.seconds(timeout) if wait else 0

    async def send() -> None:
        async with connected(access_of(kubeconfig, data_dir)) as http:
            transport = HttpTransport(http)
            history = await _history(transport, function)
            revision = _named(history, to) if to else _previous(history)
            await _change(transport, history, with_share(history.function.spec.traffic, revision.name, WHOLE_PERCENT))
            await _tell(transport, history, f"revision {revision.name} gets all requests", seconds)
            out.print(f"  it stays so until: skerry promote {function}")

    run(send())


def promote(
    function: FunctionArgument,
    revision: Annotated[
        str | None, typer.Argument(metavar="REVISION", help="Its name, or its hash. Default: the latest that is ready.")
    ] = None,
    latest: Annotated[bool, typer.Option("--latest", help="The latest, also after later changes.")] = False,
    percent: Annotated[
        int, typer.Option(min=1, max=WHOLE_PERCENT, help="Its share; those of the others shrink in proportion.")
    ] = WHOLE_PERCENT,
    wait: WaitFlag = True,
    timeout: TimeoutFlag = "30s",
    data_dir: DataDirFlag = None,
    kubeconfig: KubeconfigFlag = None,
) -> None:
    """Send a function's requests to its latest revision, or to one by name: all of them, or a share.

    `skerry promote FUNCTION` alone ends a rollback or a gradual roll-out: the latest revision gets all requests, and so
    will those that later changes make.
    """
    if latest and revision:
        raise ConfigurationError("give a revision or --latest, not both")
    seconds = run_notes.seconds(timeout) if wait else 0

    async def send() -> None:
        async with connected(access_of(kubeconfig, data_dir)) as http:
            transport = HttpTransport(http)
            history = await _history(transport, function)
            name = _named(history, revision).name if revision else None
            try:
                entries = with_share(history.function.spec.traffic, name, percent)
            except ValueError as error:
                _teach_to_hold(history, error)
            await _change(transport, history, entries)
            which = f"revision {name}" if name else "the latest revision"
            share = "all requests" if percent == WHOLE_PERCENT else f"{percent} % of the requests"
            await _tell(transport, history, f"{which} gets {share}", seconds)

    run(send())


def _teach_to_hold(history: _History, error: ValueError) -> NoReturn:
    name, live = history.function.name, history.function.status.live_revision
    hint = f"hold the present one first (skerry promote {name} {live}), and then apply the change" if live else ""
    raise SkerryError(f"edgefunction/{name}: {error}; {hint}") from error


def _named(history: _History, given: str) -> EdgeFunctionRevision:
    """Return the revision of a name or a hash; raises SkerryError where it can't take requests."""
    function = history.function.name
    found = next((r for r in history.revisions if r.name in {given, f"{function}-{given}"}), None)
    if found is None:
        known = ", ".join(history.names[:LISTED_MAX]) or "none yet"
        raise SkerryError(f"edgefunction/{function} has no revision {given}; it has {known}")
    ready = condition_of(found.status.conditions, "Ready")
    if ready is not None and ready.status == "False":
        raise SkerryError(f"revision {found.name} can't serve: {ready.message}")
    return found


def _previous(history: _History) -> EdgeFunctionRevision:
    """Return the revision that a rollback means: the oldest of a split, else the one that was live before."""
    function = history.function
    sharing = {target.revision for target in function.status.targets if target.percent}
    if len(sharing) > 1:
        return next(revision for revision in reversed(history.revisions) if revision.name in sharing)
    previous = function.status.previous_revision
    if previous in history.names:
        return _named(history, previous)
    gone = f"the one before, {previous}, is gone" if previous else "no other one was live yet"
    raise SkerryError(
        f"edgefunction/{function.name} has no revision to go back to: {gone}; "
        f"name one with --to (skerry revisions {function.name} lists them)"
    )


async def _change(transport: HttpTransport, history: _History, entries: Sequence[TrafficEntry]) -> None:
    """Set `spec.traffic`, unless another has changed the function since it was read (then it is a Conflict)."""
    is_default = list(entries) == [TrafficEntry(latest=True, percent=WHOLE_PERCENT)]
    patch = {
        "metadata": {"resourceVersion": history.function.metadata.resource_version},
        "spec": {"traffic": None if is_default else [to_document(entry) for entry in entries]},
    }
    await transport.merge_patch(Target(EDGE_FUNCTION, name=history.function.name), patch)


async def _tell(transport: HttpTransport, history: _History, sentence: str, timeout_seconds: float) -> None:
    """Say what was done, once it is in force; raises SkerryError where it is not."""
    name = history.function.name
    if timeout_seconds:
        with err.status(f"waiting for the gateway to switch edgefunction/{name}"):
            try:
                with within(timeout_seconds):
                    await _until_in_force(transport, name)
            except TimeoutError as error:
                raise SkerryError(f"edgefunction/{name} did not switch within {timeout_seconds:g}s") from error
    out.print(f"edgefunction/{name}: {sentence}")


async def _until_in_force(transport: HttpTransport, name: str) -> None:
    while True:
        function = from_document(EdgeFunction, await transport.get(Target(EDGE_FUNCTION, name=name)))
        told = condition_of(function.status.conditions, "Traffic")
        if told and told.observed_generation == function.metadata.generation:
            if told.reason in {"RevisionMissing", "RevisionFailed", "ModesDiffer"}:
                raise SkerryError(f"edgefunction/{name}: {told.message}")
            if told.status == "True" and all(target.ready for target in function.status.targets if target.percent):
                return
        await asyncio.sleep(POLL_SECONDS)
