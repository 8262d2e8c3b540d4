"""Which functions' filters the Envoy of this node runs itself, and what each is: code at hand, tried, in its place.

Owns the decision which revision's code, with which configuration, is in force here. Does not own the trials, nor what
routes make of a filter.

Invariants: no code or configuration comes into force here that has not passed its trial on this node; where the wanted
one has not, or not yet, what was in force before stays.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from skerry.agent.code_files import CodeFiles
from skerry.api.config_text import config_json
from skerry.api.extensions_v1alpha2 import EdgeFunction, EdgeFunctionRevision, EnvoyLoader, plugin_name
from skerry.client.informer import Informer
from skerry.gateway import ir
from skerry.gateway.filter_slots import FilterContent, FilterSlots
from skerry.gateway.route_filters import RuleFilter, filter_name
from skerry.kit.errors import SkerryError
from skerry.kit.logs import get_logger

log = get_logger(__name__)

#: Each takes two places in every chain that uses it, and some of Envoy's memory.
FILTERS_MAX = 1000
#: What is told while a trial goes on.
ON_TRIAL = "the filter is being tried; what was there before stays until then"
NATIVES_OFF = (
    "native filters are off on this node: they run within Envoy, and nothing holds them; "
    "the setting native_plugins turns them on"
)

_NATIVE_LOADERS: dict[EnvoyLoader, ir.NativeLoader] = {"DynamicModule": "dynamic_module", "GoFilter": "go"}
_SUFFIXES: dict[EnvoyLoader, str] = {"DynamicModule": ".so", "GoFilter": ".so", "ProxyWasm": ".wasm"}


class Trials(Protocol):
    """What tries code before it is put into force."""

    async def judge(self, contents: Collection[FilterContent], *, wait_seconds: float) -> None:
        """Have code tried, and wait a while for the verdicts of what is new."""
        ...

    def verdict(self, content: FilterContent) -> str | None:
        """Return why code was refused, "" where it passed, or None while it is not tried."""
        ...


@dataclass(frozen=True, slots=True)
class _InForce:
    """What a function's filter is here.

    Attributes:
        uid: of the function.
        revision: the name of the revision.
        content: its code, and what it is given.
    """

    uid: str
    revision: str
    content: FilterContent


class FilterStage:
    """Stages the filters that Envoy runs itself.

    Args:
        files: of their code.
        revisions: the cache of revisions.
        trials: try them.
        natives: whether shared objects may be loaded here.
    """

    def __init__(
        self, files: CodeFiles, revisions: Informer[EdgeFunctionRevision], trials: Trials, *, natives: bool
    ) -> None:
        self._files = files
        self._revisions = revisions
        self._trials = trials
        self._natives = natives
        self._in_force: dict[str, _InForce] = {}
        self._slots = FilterSlots()
        #: By function, whether its filter is as it was asked for: "" or what is in the way.
        self.reports: Mapping[str, str] = {}

    async def stage(self, functions: Iterable[EdgeFunction], *, wait_seconds: float) -> None:
        """Bring every such filter here, and have it tried."""
        reports: dict[str, str] = {}
        wanted: dict[str, list[_InForce]] = {}
        for function in functions:
            found = await self._candidates(function, reports)
            if found and len(wanted) >= FILTERS_MAX:
                reports[function.name] = f"a node runs at most {FILTERS_MAX} filters of functions within Envoy"
            elif found:
                wanted[function.name] = found
        contents = {each.content for candidates in wanted.values() for each in candidates}
        await self._trials.judge(contents, wait_seconds=wait_seconds)
        chosen = {name: self._choose(name, candidates, reports) for name, candidates in wanted.items()}
        self._in_force = {name: each for name, each in chosen.items() if each is not None}
        self.reports = reports

    def is_in_force(self, revision: EdgeFunctionRevision, function: EdgeFunction) -> bool:
        """Tell whether a revision of a function is what `stage` put into force."""
        found = self._in_force.get(function.name)
        return found is not None and (found.uid, found.revision) == (function.uid, revision.name)

    def rule_filters(self, served: Iterable[EdgeFunction]) -> tuple[RuleFilter, ...]:
        """Return what routes can name of the functions as they are served."""
        contents = {}
        for function in served:
            found = self._in_force.get(function.name)
            if found is not None and found.revision == function.status.live_revision:
                contents[filter_name(function)] = found.content
        return self._slots.settle(contents)

    async def remove_idle(self) -> None:
        """Remove the files of code that was in no use for some time."""
        await self._files.remove_idle([*self._slots.codes, *(e.content.filter.code for e in self._in_force.values())])

    async def _candidates(self, function: EdgeFunction, reports: dict[str, str]) -> list[_InForce]:
        """Return what a function's filter may be, the best first; where it is one, begin its report."""
        found = []
        names = (function.status.live_revision, function.status.serving_revision)
        for name in dict.fromkeys(name for name in names if name):
            revision = self._revisions.get(name)
            if revision is None or not _is_of(revision, function) or (loader := _loader(revision)) is None:
                continue
            try:
                found.append(_InForce(function.uid, name, await self._content(function, revision, loader)))
                reports.setdefault(function.name, "")
            except (SkerryError, OSError, ValueError) as error:
                log.warning("filter can't be staged", revision=name, error=str(error))
                reports[function.name] = reports.get(function.name) or str(error)
        return found

    async def _content(
        self, function: EdgeFunction, revision: EdgeFunctionRevision, loader: EnvoyLoader
    ) -> FilterContent:
        native = _NATIVE_LOADERS.get(loader)
        if native is not None and not self._natives:
            raise SkerryError(NATIVES_OFF)
        digest = revision.status.artifact.digest if revision.status.artifact else ""
        code = str(await self._files.place(digest, _SUFFIXES[loader]))
        spec, dynamic = revision.spec, function.spec.dynamic_plugin_config
        dynamic_config = config_json(dynamic) if dynamic else ""
        if native is None:
            environment = tuple(sorted((variable.name, variable.value) for variable in spec.env or ()))
            module = ir.Wasm(
                code,
                root_id=plugin_name(spec.code, ""),
                configuration=dynamic_config,
                environment=environment,
                on_trap="allow" if spec.fails_open else "deny",
            )
            return FilterContent(module)
        source = spec.code.go_plugin_source
        config = config_json(source.plugin_config) if source and source.plugin_config else ""
        return FilterContent(ir.Native(native, code, plugin_name(spec.code, function.name), config), dynamic_config)

    def _choose(self, name: str, candidates: list[_InForce], reports: dict[str, str]) -> _InForce | None:
        """Return the first candidate that passed, but what was in force before goes before the second best."""
        for candidate in candidates:
            verdict = self._trials.verdict(candidate.content)
            if verdict == "":
                return candidate
            reports[name] = reports[name] or (ON_TRIAL if verdict is None else verdict)
            before = self._in_force.get(name)
            if before is not None and before.uid == candidate.uid and self._revisions.get(before.revision):
                return before
        return None


def _is_of(revision: EdgeFunctionRevision, function: EdgeFunction) -> bool:
    """Tell whose a revision is: a status can be written by hand, and must not make a function run another's code."""
    return any(owner.uid == function.uid for owner in revision.metadata.owner_references or ())


def _loader(revision: EdgeFunctionRevision) -> EnvoyLoader | None:
    return revision.status.artifact.loader if revision.status.artifact else None


__all__ = ["FILTERS_MAX", "NATIVES_OFF", "ON_TRIAL", "FilterStage", "Trials"]
