"""What a rule means: which acts it allows, and whether some rules give all that others give. Pure.

Meaning and words are Kubernetes' (pkg/apis/rbac/v1/evaluation_helpers.go, component-helpers/auth/rbac/validation).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import orjson

from skerry.api.rbac_v1 import PolicyRule
from skerry.server.access import Act

_ALL = "*"

#: What the group of administrators holds, whatever any binding says.
EVERYTHING = (
    PolicyRule(verbs=[_ALL], api_groups=[_ALL], resources=[_ALL]),
    PolicyRule(verbs=[_ALL], non_resource_urls=[_ALL]),
)


class Allowance:
    """One rule, made ready to be asked often: sets instead of lists, None where everything is meant."""

    __slots__ = ("_groups", "_names", "_paths", "_prefixes", "_resources", "_verbs")

    def __init__(self, rule: PolicyRule) -> None:
        self._verbs = _set_of(rule.verbs)
        self._groups = _set_of(rule.api_groups or ())
        self._resources = _set_of(rule.resources or ())
        self._names = frozenset(rule.resource_names or ())
        paths = rule.non_resource_urls or ()
        self._paths = frozenset(paths)
        self._prefixes = tuple(path.rstrip(_ALL) for path in paths if path.endswith(_ALL))

    def allows(self, act: Act) -> bool:
        """Tell whether the rule allows an act."""
        if self._verbs is not None and act.verb not in self._verbs:
            return False
        if act.path:
            return act.path in self._paths or (bool(self._prefixes) and act.path.startswith(self._prefixes))
        return (
            (self._groups is None or act.group in self._groups)
            and (self._resources is None or self._names_resource(act))
            and (not self._names or act.name in self._names)
        )

    def _names_resource(self, act: Act) -> bool:
        assert self._resources is not None  # noqa: S101 - asked for by `allows`
        if not act.subresource:
            return act.resource in self._resources
        return f"{act.resource}/{act.subresource}" in self._resources or f"*/{act.subresource}" in self._resources


def _set_of(texts: Iterable[str]) -> frozenset[str] | None:
    """Return a set, or None where it stands for everything."""
    found = frozenset(texts)
    return None if _ALL in found else found


@dataclass(frozen=True, slots=True)
class Atom:
    """The smallest part of a rule: one verb on one path, or on one resource of one group, under one name or any."""

    verb: str
    group: str = ""
    resource: str = ""
    name: str | None = None
    path: str | None = None


def missing(held: Sequence[PolicyRule], wanted: Iterable[PolicyRule]) -> list[Atom]:
    """Return what `wanted` gives and `held` does not."""
    return [atom for rule in wanted for atom in _atoms(rule) if not any(_covers(holder, atom) for holder in held)]


def _atoms(rule: PolicyRule) -> Iterator[Atom]:
    names: Sequence[str | None] = rule.resource_names or [None]
    for group in rule.api_groups or ():
        for resource in rule.resources or ():
            for verb in rule.verbs:
                yield from (Atom(verb, group, resource, name) for name in names)
    for path in rule.non_resource_urls or ():
        yield from (Atom(verb, path=path) for verb in rule.verbs)


def _covers(rule: PolicyRule, atom: Atom) -> bool:
    if not _holds(rule.verbs, atom.verb):
        return False
    if atom.path is not None:
        return _covers_path(rule.non_resource_urls or (), atom.path)
    names = rule.resource_names or ()
    return (
        _holds(rule.api_groups or (), atom.group)
        and _covers_resource(rule.resources or (), atom.resource)
        and (not names or atom.name in names)
    )


def _holds(texts: Sequence[str], text: str) -> bool:
    return _ALL in texts or text in texts


def _covers_resource(held: Sequence[str], resource: str) -> bool:
    _, slash, subresource = resource.partition("/")
    return _holds(held, resource) or (bool(slash) and f"*/{subresource}" in held)


def _covers_path(held: Sequence[str], path: str) -> bool:
    return any(path == one or (one.endswith(_ALL) and path.startswith(one.rstrip(_ALL))) for one in held)


def told(atoms: Iterable[Atom]) -> str:
    """Write what is missing as the refusal of an escalation tells it: a line for each path, or resource."""
    lines, verbs = set[str](), dict[tuple[str, str, str | None], list[str]]()
    for atom in atoms:
        if atom.path is not None:
            lines.add(f"{{NonResourceURLs:{quoted([atom.path])}, Verbs:{quoted([atom.verb])}}}")
        else:
            verbs.setdefault((atom.group, atom.resource, atom.name), []).append(atom.verb)
    for (group, resource, name), found in verbs.items():
        named = f", ResourceNames:{quoted([name])}" if name is not None else ""
        of = f"APIGroups:{quoted([group])}, Resources:{quoted([resource])}{named}"
        lines.add(f"{{{of}, Verbs:{quoted(list(dict.fromkeys(found)))}}}")
    return "\n".join(sorted(lines))


def quoted(texts: Sequence[str]) -> str:
    """Write texts as Go's %q writes a list of them: `["a" "b"]`."""
    return "[" + " ".join(orjson.dumps(text).decode() for text in texts) + "]"
