"""The refusal of an apply that would change what others own, in Kubernetes' words, which kubectl prints."""

from itertools import groupby

import orjson

from skerry.api.errors import Conflict
from skerry.server.verbs.apply import fieldpath
from skerry.server.verbs.apply.managers import FieldConflict, Manager


def refusal(conflicts: tuple[FieldConflict, ...], api_version: str) -> Conflict:
    """Return the answer to an apply with conflicts, which are ordered by manager."""
    causes = [
        {
            "reason": "FieldManagerConflict",
            "message": f"conflict with {_named(conflict.manager, api_version)}",
            "field": fieldpath.text(conflict.path),
        }
        for conflict in conflicts
    ]
    return Conflict(_message(conflicts, api_version), details={"causes": causes})


def _message(conflicts: tuple[FieldConflict, ...], api_version: str) -> str:
    if len(conflicts) == 1:
        [only] = conflicts
        told = f"{_named(only.manager, api_version)}: {fieldpath.text(only.path)}"
        return f"Apply failed with 1 conflict: conflict with {told}"
    lines: list[str] = []
    for manager, theirs in groupby(conflicts, key=lambda conflict: conflict.manager):
        lines.append(f"conflicts with {_named(manager, api_version)}:")
        lines += [f"- {fieldpath.text(conflict.path)}" for conflict in theirs]
    return f"Apply failed with {len(conflicts)} conflicts: " + "\n".join(lines)


def _named(manager: Manager, api_version: str) -> str:
    name = orjson.dumps(manager.name).decode()  # names may hold quotes
    subresource = f' with subresource "{manager.subresource}"' if manager.subresource else ""
    version = f" using {api_version}" if manager.operation == "Update" else ""
    return f"{name}{subresource}{version}"
