"""Query parameters and delete bodies, as the verbs' options. Every wrong one is told by its name."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast, get_args

from skerry.api.errors import BadRequest, Invalid
from skerry.api.fields import FieldError, forbidden, invalid, not_supported, required
from skerry.api.model import Document
from skerry.api.selectors import SelectorError, parse_field_selector, parse_label_selector
from skerry.server.kube.negotiation import Include
from skerry.server.verbs.requests import (
    DeleteOptions,
    FieldValidation,
    ListOptions,
    Propagation,
    Selection,
    VersionMatch,
    WatchOptions,
    WriteOptions,
)

#: Kubernetes' bound for the name of a field manager.
MANAGER_CHARACTERS_MAX = 128
#: How long a watch lasts unless it asks for less; Kubernetes' own least time.
WATCH_SECONDS_DEFAULT = 1800
WATCH_SECONDS_MAX = 3600

Query = Mapping[str, str]

_DRY_RUN = ("All",)
_TRUE = frozenset({"1", "true", "True", "TRUE", "t", "T"})
_FALSE = frozenset({"", "0", "false", "False", "FALSE", "f", "F"})


def write_options(query: Query, user_agent: str, duplicates: tuple[str, ...], *, patch: bool = False) -> WriteOptions:
    """Read the options of a create, replace or patch; raises Invalid with every wrong one."""
    wrong: list[FieldError] = []
    if "force" in query and patch:
        wrong.append(forbidden("force", "may not be specified for non-apply patch"))
    manager = query.get("fieldManager") or _manager_of(user_agent)
    options = _write_options(query, manager, duplicates, wrong)
    if wrong:
        raise Invalid.of("PatchOptions" if patch else "UpdateOptions", "meta.k8s.io", "", wrong)
    return options


def apply_options(query: Query, duplicates: tuple[str, ...]) -> WriteOptions:
    """Read the options of a server-side apply; raises Invalid with every wrong one, BadRequest for `force`."""
    wrong: list[FieldError] = []
    manager = query.get("fieldManager", "")
    if not manager:
        wrong.append(required("fieldManager", "is required for apply patch"))
    options = _write_options(query, manager, duplicates, wrong)
    if wrong:
        raise Invalid.of("PatchOptions", "meta.k8s.io", "", wrong)
    return replace(options, force=flag(query, "force"))


def _write_options(query: Query, manager: str, duplicates: tuple[str, ...], wrong: list[FieldError]) -> WriteOptions:
    """Read what all writes share; appends to `wrong`."""
    if len(manager) > MANAGER_CHARACTERS_MAX:
        wrong.append(invalid("fieldManager", manager, f"may not be longer than {MANAGER_CHARACTERS_MAX} characters"))
    if not manager.isprintable():
        wrong.append(invalid("fieldManager", manager, "should only contain printable characters"))
    validation = query.get("fieldValidation") or "Warn"
    if validation not in get_args(FieldValidation):
        wrong.append(not_supported("fieldValidation", validation, get_args(FieldValidation)))
    dry_run = _dry_run(query.get("dryRun", ""), wrong)
    return WriteOptions(dry_run, cast("FieldValidation", validation), manager, duplicates)


def _manager_of(user_agent: str) -> str:
    """Return the manager that a client is which names none: its User-Agent up to the first slash."""
    name = "".join(c for c in user_agent.partition("/")[0] if c.isprintable())
    return name[:MANAGER_CHARACTERS_MAX] or "unknown"


def _dry_run(given: str | list[str], wrong: list[FieldError]) -> bool:
    values = [given] if isinstance(given, str) else given
    values = [value for value in values if value]
    if any(value not in _DRY_RUN for value in values):
        wrong.append(not_supported("dryRun", values, _DRY_RUN))
    return bool(values)


def selection(query: Query) -> Selection:
    """Read the label and field selectors; raises BadRequest where one can't be read."""
    try:
        return Selection(
            parse_label_selector(query.get("labelSelector", "")),
            parse_field_selector(query.get("fieldSelector", "")),
        )
    except SelectorError as error:
        raise BadRequest(str(error)) from error


def list_options(query: Query) -> ListOptions:
    """Read the options of a list; raises BadRequest or Invalid."""
    return ListOptions(
        selection=selection(query),
        limit=number(query, "limit"),
        continue_token=query.get("continue", ""),
        resource_version=query.get("resourceVersion", ""),
        version_match=_version_match(query),
    )


def _version_match(query: Query) -> VersionMatch:
    match = query.get("resourceVersionMatch", "")
    if match not in get_args(VersionMatch):
        wrong = not_supported("resourceVersionMatch", match, ("Exact", "NotOlderThan"))
        raise Invalid.of("ListOptions", "meta.k8s.io", "", [wrong])
    return cast("VersionMatch", match)


def wants_watch(query: Query) -> bool:
    """Tell whether a list is meant as a watch."""
    return flag(query, "watch")


def watch_options(query: Query) -> tuple[WatchOptions, int]:
    """Read the options of a watch and its length in seconds; raises BadRequest or Invalid."""
    match, initial = _version_match(query), flag(query, "sendInitialEvents")
    wrong: list[FieldError] = []
    if initial and match != "NotOlderThan":
        detail = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
        wrong.append(forbidden("resourceVersionMatch", detail))
    if match and "sendInitialEvents" not in query:
        detail = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
        wrong.append(forbidden("resourceVersionMatch", detail))
    if initial and not flag(query, "allowWatchBookmarks"):
        wrong.append(forbidden("sendInitialEvents", "requires allowWatchBookmarks"))
    if wrong:
        raise Invalid.of("ListOptions", "meta.k8s.io", "", wrong)
    options = WatchOptions(
        selection=selection(query),
        resource_version=query.get("resourceVersion", ""),
        bookmarks=flag(query, "allowWatchBookmarks"),
        initial_events=initial,
    )
    seconds = number(query, "timeoutSeconds") or WATCH_SECONDS_DEFAULT
    return options, min(seconds, WATCH_SECONDS_MAX)


def include(query: Query) -> Include:
    """Read what the rows of a table carry; raises BadRequest."""
    given = query.get("includeObject") or "Metadata"
    if given not in get_args(Include):
        raise BadRequest(f'includeObject: unsupported "{given}"; supported are {", ".join(get_args(Include))}')
    return cast("Include", given)


def delete_options(query: Query, body: Document) -> DeleteOptions:
    """Read the options of a delete from its body, then its query; raises Invalid with every wrong one."""
    wrong: list[FieldError] = []
    dry_run = _dry_run(_texts(body, "dryRun", wrong) or query.get("dryRun", ""), wrong)
    propagation = body.get("propagationPolicy") or query.get("propagationPolicy") or None
    if propagation is not None and propagation not in get_args(Propagation):
        wrong.append(not_supported("propagationPolicy", propagation, get_args(Propagation)))
    preconditions = body.get("preconditions") or {}
    if not isinstance(preconditions, dict):
        wrong.append(invalid("preconditions", preconditions, "must be an object"))
        preconditions = {}
    uid, version = preconditions.get("uid"), preconditions.get("resourceVersion")
    for field, value in (("uid", uid), ("resourceVersion", version)):
        if value is not None and not isinstance(value, str):
            wrong.append(invalid(f"preconditions.{field}", value, "must be a string"))
    if wrong:
        raise Invalid.of("DeleteOptions", "meta.k8s.io", "", wrong)
    return DeleteOptions(dry_run, uid, version, cast("Propagation | None", propagation))


def _texts(body: Document, field: str, wrong: list[FieldError]) -> list[str]:
    given: Any = body.get(field) or []
    if isinstance(given, list) and all(isinstance(item, str) for item in given):
        return given
    wrong.append(invalid(field, given, "must be a list of strings"))
    return []


def flag(query: Query, name: str) -> bool:
    """Read a boolean as Go does; raises BadRequest."""
    given = query.get(name, "")
    if given in _TRUE:
        return True
    if given in _FALSE:
        return False
    raise BadRequest(f'{name}: invalid value "{given}": must be true or false')


def number(query: Query, name: str) -> int:
    """Read a whole number, 0 where it is absent; raises BadRequest."""
    given = query.get(name) or "0"
    if not re.fullmatch(r"[0-9]{1,18}", given):
        raise BadRequest(f'{name}: invalid value "{given}": must be a whole number, not negative')
    return int(given)
